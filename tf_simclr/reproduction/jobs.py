"""Runs cells in processes of their own, several side by side."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tf_simclr
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.reproduction.stages import Cell, finished

_POLL = 0.2  # seconds
_INTERRUPTED, _STOPPED = 75, 130  # exit codes of commands


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process does: the cells whose first run is the same one, which is trained once."""

    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        first = self.cells[0]
        return f"{first.row.table}/{first.row.name}, seed {first.seed}"

    def lines(self, model_dir: str) -> list[list[str]]:
        """Command lines in order, one for each run folder."""
        once: dict[str, list[str]] = {}
        for cell in self.cells:
            for place, folder in enumerate(cell.folders):
                once.setdefault(folder, cell.arguments(place, model_dir))
        return list(once.values())


def jobs(cells: Sequence[Cell]) -> list[Job]:
    """Cells grouped by their first run's folder, in order."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.folders[0], []).append(cell)
    return [Job(tuple(group)) for group in groups.values()]


def run_all(todo: Sequence[Job], model_dir: str, workers: int, done: Callable[[Job, float], None]) -> None:
    """Runs the jobs, `workers` at a time, and calls `done` with each that ended well and its seconds.

    A job that fails is said and the others go on, but where none has ended well before.

    Raises:
        UsageError: jobs failed.
        Interrupted: one was asked to stop; it has saved.
    """
    waiting, free, good = list(todo), _devices(workers), 0
    running: dict[subprocess.Popen[bytes], tuple[Job, float, str]] = {}
    failures: list[str] = []
    try:
        while running or (waiting and (good or not failures)):
            while waiting and free and (good or not failures):
                job, device = waiting.pop(0), free.pop(0)
                running[_start(job, model_dir, device)] = job, time.perf_counter(), device
            for process in [one for one in running if one.poll() is not None]:
                job, began, device = running.pop(process)
                free.append(device)
                if failure := _failure(job, process.returncode, model_dir):
                    failures.append(failure)
                    print(failure, file=sys.stderr, flush=True)
                else:
                    good += 1
                    done(job, time.perf_counter() - began)
            time.sleep(_POLL)
    finally:
        _stop(running)
    if failures:
        raise UsageError(f"{len(failures)} of {len(todo)} runs failed, the first: {failures[0]}")


def _devices(workers: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES is to be for each worker: of several devices one in turn; empty: as it is."""
    found = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    several = found if workers > 1 and len(found) > 1 else [""]
    return [device for device, _ in zip(itertools.cycle(several), range(workers), strict=False)]


def _start(job: Job, model_dir: str, device: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tf_simclr.reproduction.chain", json.dumps(job.lines(model_dir))]
    package = str(Path(tf_simclr.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.getcwd(), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": paths}
    if device:
        environment["CUDA_VISIBLE_DEVICES"] = device
    path = _log(job, model_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)


def _log(job: Job, model_dir: str) -> Path:
    """Where a process's output goes; a remote run folder's stays on this machine."""
    folder = os.path.join(tempfile.gettempdir(), "tf_simclr") if "://" in model_dir else model_dir
    return Path(folder) / "logs" / f"{job.cells[0].folders[0]}.txt"


def _failure(job: Job, code: int, model_dir: str) -> str:
    """What a job that ended with `code` says of it; empty where it ended well.

    Raises:
        Interrupted: it was stopped.
    """
    if code in (_INTERRUPTED, _STOPPED, -2, -15):
        raise Interrupted(f"{job.name}: stopped")
    if code == 0 and all(finished(cell, model_dir) for cell in job.cells):
        return ""
    return f"{job.name}: {_last_words(job, code, model_dir)} (log: {_log(job, model_dir)})"


def _last_words(job: Job, code: int, model_dir: str) -> str:
    lines = _log(job, model_dir).read_text(errors="replace").split("\n")
    said = [line for line in lines if line.startswith(tuple(_commands(job)))]
    last = [line for line in lines if line.strip()]
    return (said if code == 2 and said else last or [f"exit code {code}"])[-1].strip()


def _commands(job: Job) -> Iterator[str]:
    for cell in job.cells:
        yield from (f"{stage.command}: " for stage in cell.stages)


def _stop(running: Iterable[subprocess.Popen[bytes]]) -> None:
    """Asks what still runs to save and end, and waits for it."""
    for process in running:
        process.terminate()
    for process in running:
        process.wait()
