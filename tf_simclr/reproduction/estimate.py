"""The plan of a table, and the time that a few measured steps promise for it."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tf_simclr.config import Config
from tf_simclr.reproduction.jobs import Job, run_all
from tf_simclr.reproduction.jobs import jobs as grouped
from tf_simclr.reproduction.stages import Cell, Stage
from tf_simclr.reproduction.stages import cells as cells_of

MEASURED = 6  # steps; the first traces the graph and is not in the speed
Measured = dict[str, tuple[float, float, int]]
"""command -> seconds of the short run, images a second, images of its data set."""


def plan(cells: Sequence[Cell], todo: Sequence[Job], config: Config) -> str:
    """A line for each run to go, with its minutes, and their sum over --workers."""
    finished = len(cells) - sum(len(job.cells) for job in todo)
    lines = [f"reproduce: {len(cells)} rows and seeds, {finished} finished, {len(todo)} runs to go"]
    kinds: dict[str, Measured] = {}
    total = 0.0
    for job in todo:
        kind = _kind(job)
        if kind not in kinds:
            kinds[kind] = _measure(job, config.reproduction.row_flags)
        minutes = _seconds(job, kinds[kind]) / 60
        total += minutes
        rows = ", ".join(dict.fromkeys(f"{cell.row.table}/{cell.row.name}" for cell in job.cells))
        lines.append(f"  {rows}, seed {job.cells[0].seed}: about {minutes:.1f} minutes")
    workers = config.reproduction.workers
    lines.append(
        f"about {total / 60:.1f} hours of runs" + (f", {workers} side by side" if workers > 1 else "")
    )
    return "\n".join(lines)


def _kind(job: Job) -> str:
    """What decides the speed of a job: its commands, encoder, images, batch and precision."""
    config = job.cells[0].stages[0].config
    commands = [stage.command for cell in job.cells for stage in cell.stages]
    deciding = [config.data.dataset, config.data.image_size, config.encoder, config.devices.precision]
    return str([sorted(set(commands)), *deciding, config.optimization.train_batch_size])


def _measure(job: Job, row_flags: str) -> Measured:
    """Runs the first cell of each chain of a job for a few steps, in a folder that does not stay."""
    more = shlex.join([*shlex.split(row_flags), f"--train_steps={MEASURED}"])
    short = cells_of([cell.row for cell in job.cells], [job.cells[0].seed], more)
    measured: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in grouped(short):
            run_all([one], folder, 1, lambda job, seconds: measured.update(_read(job, folder, seconds)))
    return measured


def _read(job: Job, folder: str, seconds: float) -> Measured:
    """The seconds of the whole, start and tests included, go to the first command."""
    found: Measured = {}
    for cell in job.cells:
        for stage, name in zip(cell.stages, cell.folders, strict=True):
            result = json.loads((Path(folder) / name / "result.json").read_text())
            data = Path(folder) / name / "data.json"
            images = json.loads(data.read_text())["num_examples"] if data.exists() else 0
            found.setdefault(stage.command, (0.0 if found else seconds, result["images_per_second"], images))
    return found


def _seconds(job: Job, measured: Measured) -> float:
    once = {
        folder: stage for cell in job.cells for folder, stage in zip(cell.folders, cell.stages, strict=True)
    }
    return sum(_stage_seconds(stage, *measured[stage.command]) for stage in once.values())


def _stage_seconds(stage: Stage, start: float, images_per_second: float, images: int) -> float:
    steps, batch = stage.config.steps(images).total, stage.config.optimization.train_batch_size
    further = max(0, steps - MEASURED) if stage.trains else 0
    return start + further * batch / max(images_per_second, 1e-9)
