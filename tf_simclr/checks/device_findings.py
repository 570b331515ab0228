"""What the machine has for a planned run: precision, memory and disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_simclr.checks import data_findings, limits
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.checks.sizes import readable
from tf_simclr.devices.memory import gpu_memory
from tf_simclr.inputs import feeding

_CAPABILITY = {"float16": (7, 0), "bfloat16": (8, 0)}  # of NVIDIA GPUs whose tensor cores have it
_OF_CPUS = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "float16": {"amx_fp16"},
}  # flags of /proc/cpuinfo
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def precision(run: Planned) -> Iterator[Finding]:
    """Arithmetic that the device has no units for: the run is then slower than in float32."""
    wanted = run.config.devices.precision
    if wanted == "float32" or tf.config.list_logical_devices("TPU"):
        return
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        if details.get("compute_capability", (99, 0)) < _CAPABILITY[wanted]:
            yield _lacks(wanted, details.get("device_name", gpu.name))
            return
    if not gpus and not _OF_CPUS[wanted] & _cpu_flags():
        yield _lacks(wanted, "this CPU")


def _lacks(wanted: str, device: str) -> Finding:
    return Finding(
        WARNING,
        f"--precision={wanted}: {device} has no units for it and gets slower; give --precision=float32",
    )


def _cpu_flags() -> set[str]:
    """What Linux says that the processor can do; empty elsewhere."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def memory(run: Planned) -> Iterator[Finding]:
    """What `doctor --sizes` reckons of a replica, beside what its device has; CPUs share the host's."""
    gpu, host = gpu_memory(), host_memory()
    there, needed = (gpu, run.sizes.memory) if gpu else (host, run.replicas * run.sizes.memory)
    where = "of a GPU" if gpu else "of this machine"
    if not there:
        return
    line = f"about {readable(needed)} are needed, {readable(there)} {where} are there"
    figures = {"needed_bytes": needed, "memory_bytes": there}
    if needed <= limits.FULL_MEMORY.value * there:
        yield Finding(NOTE, f"memory: {line}", figures)
    else:
        level = WASTED if needed > there else WARNING
        yield Finding(level, f"--train_batch_size={run.batch}: {line}; {_remedy(run, there)}", figures)


def _remedy(run: Planned, there: int) -> str:
    """The least number of micro-batches that fits, or what else makes a step smaller."""
    own, config = run.batch // run.replicas, run.config
    whole = run.sizes.activations * config.memory.micro_batches
    room = limits.FULL_MEMORY.value * there / (1 if gpu_memory() else run.replicas)
    room -= run.sizes.memory - run.sizes.activations
    fitting = [k for k in range(2, own // 2 + 1) if not own % k and whole / k <= room]
    if fitting and config.method.micro_batches:
        return f"--micro_batches={fitting[0]} makes it fit"
    if room <= 0 and run.sizes.loss > there / 2 and not getattr(config.method, "loss_block_size", 1):
        return "--loss_block_size=512 holds a strip of the similarities"
    return "lower it, or --image_size, or take a smaller encoder"


def feed(run: Planned) -> Iterator[Finding]:
    """Who makes the views; what --feed=auto chooses follows from the largest of a few images."""
    config, asked = run.config, f"--feed={run.config.memory.feed}"
    most = feeding.most_bytes(config)
    if asked != "--feed=auto" or not most:
        yield Finding(NOTE, f"{asked}: the {'device' if most else 'host'} makes the views")
        return
    height, width = data_findings.sides(run.source, feeding.kept_size(config)).max(axis=0)
    needed = feeding.bytes_of((height, width, run.source.channels), config, run.source, run.replicas)
    who = "device" if needed <= most else "host"
    line = f"decoded images take about {readable(needed)}, {readable(int(most))} of the device are theirs"
    yield Finding(NOTE, f"{asked}: the {who} makes the views: {line}", {"needed_bytes": int(needed)})


def host_memory() -> int:
    """Bytes that this process may use: the machine's, or its container's; 0 where nobody says."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    for file in _CGROUPS:
        try:
            found.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found, default=0)


def disk(run: Planned) -> Iterator[Finding]:
    """Room for the checkpoints that are kept and for the one that is written before the oldest goes."""
    folder = run.config.run.model_dir
    if not folder or "://" in folder:
        return
    kept = run.config.checkpoints.keep_checkpoint_max
    written = run.steps.total // max(run.steps.between_checkpoints, 1) + 1
    count = min(kept + 1, written) if kept else written
    needed = count * (run.sizes.weights + run.sizes.optimizer + run.sizes.state)
    free = shutil.disk_usage(_existing(Path(folder))).free
    line = f"{count:,} checkpoints take about {readable(needed)}, {readable(free)} are free"
    figures = {"needed_bytes": needed, "free_bytes": free}
    if needed > free:
        advice = "lower --keep_checkpoint_max" if kept != 1 else "make space"
        yield Finding(WASTED, f"--model_dir={folder}: {line}; {advice}, or name another disk", figures)
    else:
        yield Finding(NOTE, f"--model_dir={folder}: {line}", figures)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.expanduser().absolute()
    return next(one for one in (folder, *folder.parents) if one.exists())
