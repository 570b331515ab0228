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
    return _smallest_gpu() if tf.config.list_logical_devices("GPU") else 0


def _smallest_gpu() -> int:
    """As the driver's own tool says: TensorFlow tells what is used alone."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
        return min(int(line) for line in said.splitlines()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
