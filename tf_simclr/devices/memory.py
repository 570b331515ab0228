"""How much memory the accelerators have."""

from __future__ import annotations

import subprocess

import tensorflow as tf

_SMALLEST_TPU = 8 * 2**30  # bytes of a core, of version 2
_SECONDS = 10


def accelerator_memory() -> int:
    """Bytes of the smallest accelerator; 0 where there is none, or none whose memory is known."""
    if tf.config.list_logical_devices("TPU"):
        return _SMALLEST_TPU
    return gpu_memory()


def gpu_memory() -> int:
    """Bytes of the smallest GPU, as the driver's own tool says: TensorFlow tells what is used alone."""
    if not tf.config.list_physical_devices("GPU"):
        return 0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
        return min(int(line) for line in said.splitlines()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
