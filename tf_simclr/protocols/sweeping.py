"""Fine-tuning over a grid of learning rates and weight decays, chosen on validation images (App. B.8)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.data import Source
from tf_simclr.devices import strategies
from tf_simclr.errors import Diverged, UsageError, naming
from tf_simclr.files import write_whole
from tf_simclr.inputs import labelled, splits
from tf_simclr.protocols import predictions, results
from tf_simclr.reports import terminal
from tf_simclr.runs.folder import RunFolder

Row = dict[str, Any]
TrainAndTest = Callable[..., dict[str, Any]]
"""(config, train, test, strategy, reuse=False) -> result.json; `reuse` takes a finished run's."""


def sweep(config: Config, command: Command, train_and_test: TrainAndTest) -> dict[str, Any]:
    """Chooses rate and decay on validation images, trains on these too, and tests once (App. B.8).

    Each point of the grid has a run folder of its own, MODEL_DIR/sweep/..., so that a sweep goes on where
    it stopped; the model that was tested is in MODEL_DIR/chosen. A point that diverges is out of the choice.

    Raises:
        UsageError: every point diverged, or a point's folder holds a run with other flags.
    """
    grid = _grid(config)
    strategy = strategies.set_up(config)
    run = RunFolder.open(config, command)
    named = splits.of_protocol(config.data)
    inputs.train_and_test_sources(_final(config, named))  # a mistake is found before anything is trained
    train, validation = _parts(config, named)

    def measured(point: Config) -> float | None:
        tf.keras.backend.clear_session()
        try:
            return train_and_test(point, train, validation, strategy, reuse=True).get(named.metric)
        except Diverged as error:
            RunFolder(epath.Path(point.run.model_dir), point).write_result(diverged=str(error))
            return None

    rows: list[Row] = []
    for rate, decay in grid:
        point = _point(config, rate, decay, run.path / "sweep" / f"lr_{rate:g}_wd_{decay:g}")
        rows.append({"learning_rate": rate, "weight_decay": decay, "validation": measured(point)})
    print(_table(rows, named.metric))
    best = _best(rows)
    chosen = _point(config, best["learning_rate"], best["weight_decay"], run.path / "chosen")
    chosen = _final(chosen, named)
    tf.keras.backend.clear_session()
    train, test = inputs.train_and_test_sources(chosen)
    train = labelled.subset(train, chosen.labels, chosen.run.seed)
    result = train_and_test(chosen, train, test, strategy)
    return _conclude(run, RunFolder(run.path / "chosen", chosen), result, rows, best)


def _parts(config: Config, named: splits.Splits) -> tuple[Source, Source]:
    """The images to train on and those to choose by."""
    train = inputs.train_source(config.replace(train_split=named.train), labelled=True)
    train = labelled.subset(train, config.labels, config.run.seed)
    if not named.validation:
        return labelled.hold_out(train, config.run.seed)
    return train, inputs.eval_source(config.replace(eval_split=named.validation))


def _final(config: Config, named: splits.Splits) -> Config:
    """With the splits of the one test: the images that chose are trained on too."""
    return config.replace(train_split=named.both, eval_split=named.test)


def _grid(config: Config) -> list[tuple[float, float]]:
    """(learning rate, weight decay in the loss); the flag's decays are divided by the rate (App. B.8).

    Raises:
        UsageError: a rate or a decay that training would refuse.
    """
    rates, decays = (
        [float(part) for part in numbers.split(",")]
        for numbers in (config.sweep.sweep_learning_rates, config.sweep.sweep_weight_decays)
    )
    if min(rates) <= 0:
        raise UsageError("--sweep_learning_rates: every rate must be greater than 0")
    grid = [(rate, float(f"{decay / rate:.6g}")) for rate, decay in itertools.product(rates, decays)]
    for rate, decay in grid:
        with (
            naming("sweep_learning_rates", instead_of="learning_rate"),
            naming("sweep_weight_decays", instead_of="weight_decay"),
        ):
            config.replace(learning_rate=rate, weight_decay=decay)
    return grid


def _point(config: Config, rate: float, decay: float, folder: epath.Path) -> Config:
    return config.replace(learning_rate=rate, weight_decay=decay, sweep=False, model_dir=str(folder))


def _best(rows: list[Row]) -> Row:
    finite = [row for row in rows if row["validation"] is not None]
    if not finite:
        raise UsageError("--sweep_learning_rates: training diverged at every point; give lower rates")
    return max(finite, key=lambda row: row["validation"])


def _table(rows: list[Row], metric: str) -> str:
    cells = []
    for row in rows:
        figure = "diverged" if row["validation"] is None else f"{row['validation']:.2f}"
        cells.append([f"{row['learning_rate']:g}", f"{row['weight_decay']:g}", figure])
    return terminal.table(["learning rate", "weight decay", f"validation {metric}, %"], cells, left=0)


def _conclude(
    run: RunFolder, chosen: RunFolder, result: dict[str, Any], rows: list[Row], best: Row
) -> dict[str, Any]:
    """The sweep's own result: the chosen point's test figures, and the whole table."""
    run.take_data(chosen)
    with (chosen.path / "predictions.npz").open("rb") as file, np.load(file) as stored:
        run.write_npz("predictions.npz", **stored)
    if (chosen.path / "mistakes.png").exists():
        write_whole(run.path / "mistakes.png", (chosen.path / "mistakes.png").read_bytes())
    return results.conclude(
        run,
        result["steps"],
        results.speed_of(result),
        **{name: result[name] for name in predictions.FIGURES},
        num_labels=result["num_labels"],
        chosen=best,
        sweep=rows,
    )
