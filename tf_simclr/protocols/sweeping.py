"""Fine-tuning over a grid of learning rates and weight decays, chosen on validation images (App. B.8)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.data import Source
from tf_simclr.devices.strategies import set_up
from tf_simclr.errors import Diverged, UsageError
from tf_simclr.evaluation.metrics import Metric
from tf_simclr.inputs import splits
from tf_simclr.protocols import outcome
from tf_simclr.protocols.tuning import finetune, hold_out, train_and_test
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import Speed

Row = dict[str, Any]


def sweep(config: Config, command: Command) -> None:
    """Chooses rate and decay on validation images, trains on these too, and tests once (App. B.8).

    Each point of the grid has a run folder of its own, MODEL_DIR/sweep/..., so that a sweep goes on where
    it stopped; the model that was tested is in MODEL_DIR/chosen. A point that diverges is out of the choice.

    Raises:
        UsageError: every point diverged, or a point's folder holds a run with other flags.
    """
    strategy = set_up(config)
    run = RunFolder.open(config, command)
    named = splits.of_protocol(config)
    train, validation = _parts(config, named)
    rows: list[Row] = []
    for rate, decay in _grid(config):
        tf.keras.backend.clear_session()
        point = _point(config, rate, decay, run.path / "sweep" / f"lr_{rate:g}_wd_{decay:g}")
        figure = _measured(point, command, train, validation, named.metric, strategy)
        rows.append({"learning_rate": rate, "weight_decay": decay, "validation": figure})
    print(_table(rows, named.metric))
    finite = [row for row in rows if row["validation"] is not None]
    if not finite:
        raise UsageError("--sweep_learning_rates: training diverged at every point; give lower rates")
    best = max(finite, key=lambda row: row["validation"])
    chosen = _point(config, best["learning_rate"], best["weight_decay"], run.path / "chosen")
    chosen = chosen.replace(train_split=named.both, eval_split=named.test)
    tf.keras.backend.clear_session()
    finetune(chosen, command)
    _conclude(run, RunFolder(run.path / "chosen", chosen), rows, best)


def _parts(config: Config, named: splits.Splits) -> tuple[Source, Source]:
    """The images to train on and those to choose by."""
    train = inputs.train_source(config.replace(train_split=named.train), labelled=True)
    train = inputs.labelled_subset(config, train)
    if not named.validation:
        return hold_out(train, config.run.seed)
    return train, inputs.eval_source(config.replace(eval_split=named.validation))


def _grid(config: Config) -> list[tuple[float, float]]:
    """(learning rate, weight decay in the loss); the flag's decays are divided by the rate (App. B.8)."""
    rates = _numbers("sweep_learning_rates", config.freezing.sweep_learning_rates)
    decays = _numbers("sweep_weight_decays", config.freezing.sweep_weight_decays)
    if min(rates) <= 0:
        raise UsageError("--sweep_learning_rates: every rate must be greater than 0")
    return [(rate, float(f"{decay / rate:.6g}")) for rate, decay in itertools.product(rates, decays)]


def _numbers(flag: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise UsageError(f"--{flag}={text}: give numbers from 0 on, separated by commas")
    return numbers


def _point(config: Config, rate: float, decay: float, folder: epath.Path) -> Config:
    return config.replace(learning_rate=rate, weight_decay=decay, sweep=False, model_dir=str(folder))


def _measured(
    point: Config,
    command: Command,
    train: Source,
    validation: Source,
    metric: Metric,
    strategy: tf.distribute.Strategy,
) -> float | None:
    """The validation figure of a point, from its folder where it was finished; None where it diverged."""
    try:
        return train_and_test(point, command, train, validation, strategy, reuse=True).get(metric)
    except Diverged as error:
        RunFolder(epath.Path(point.run.model_dir), point).write_result(diverged=str(error))
        return None


def _table(rows: list[Row], metric: str) -> str:
    lines = [f"{'learning rate':>14}{'weight decay':>14}  validation {metric}, %"]
    for row in rows:
        figure = "diverged" if row["validation"] is None else f"{row['validation']:.2f}"
        lines.append(f"{row['learning_rate']:>14g}{row['weight_decay']:>14g}  {figure}")
    return "\n".join(lines)


def _conclude(run: RunFolder, chosen: RunFolder, rows: list[Row], best: Row) -> None:
    """The sweep's own result: the chosen point's test figures, and the whole table."""
    result = chosen.read_json("result.json")
    run.write_json("data.json", chosen.read_json("data.json"))
    with (chosen.path / "predictions.npz").open("rb") as file, np.load(file) as stored:
        run.write_npz("predictions.npz", **stored)
    outcome.conclude(
        run,
        result["steps"],
        Speed(result["images_per_second"] or 0.0, result["wall_seconds"] or 0.0),
        **{name: result[name] for name in outcome.FIGURES},
        num_labels=result["num_labels"],
        chosen=best,
        sweep=rows,
    )
