"""Fine-tuning: once, or over a grid of learning rates and weight decays (App. B.5, B.8)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import Diverged, UsageError
from tf_simclr.evaluation.metrics import Metric
from tf_simclr.flag_definitions import Command
from tf_simclr.training import build, inputs, labelled, outcome, splits
from tf_simclr.training.fit import Speed, fit
from tf_simclr.training.loading import initialize_encoder
from tf_simclr.training.plan import print_plan
from tf_simclr.training.run_folder import RunFolder
from tf_simclr.training.small_data import with_fitting_batch
from tf_simclr.training.strategy import set_up
from tf_simclr.training.validating import Selection

HELD_OUT = 0.1  # of the labelled images, where a data set has no validation split
Row = dict[str, Any]


def finetune(config: Config, command: Command) -> None:
    """Trains on the labels that are given and tests once."""
    set_up(config)  # before the first tensor: several workers must meet before TensorFlow has done anything
    train = inputs.labelled_subset(config, inputs.train_source(config, labelled=True))
    train_and_test(config, command, train, inputs.eval_source(config))


def train_and_test(
    config: Config, command: Command, train: Source, test: Source, *, reuse: bool = False
) -> dict[str, Any]:
    """Fine-tunes on `train` in the run folder of `config`, tests on `test`; returns result.json.

    With `reuse` a finished run of the same flags is not even tested again.
    """
    labelled.require_classes(train)
    validation, num_labels = None, train.num_examples
    if config.freezing.select_on_validation:
        train, validation = _hold_out(train, config.run.seed)
    config = _adapted(config, train)
    steps = config.steps(train.num_examples)
    run = RunFolder.open(config, command)
    if reuse and (finished := run.read_json("result.json")):
        return finished
    strategy = set_up(config)
    with strategy.scope():
        model = build.classifier(config, train.num_classes)
        model.encoder.freeze(config.freezing.fine_tune_after_block)
        build.compiled(model, config, steps)
    initialize_encoder(model, config)
    run.write_data(train)
    if config.labels.labels_per_class or config.labels.label_fraction < 1 or validation:
        run.write_labelled_ids(train)
    if validation is not None:
        run.write("validation_ids.txt", _ids(validation))
    print_plan(run, train, steps, model, strategy)

    selected: dict[str, float | int] = {}
    batches = inputs.training_batches(config, train)
    if validation is None:
        speed = fit(model, batches, steps, run)
    else:
        selection = Selection(run, model, validation, steps)
        speed = fit(model, batches, steps, run, selection.watcher)
        selected = selection.restore_best()
    accuracy = outcome.evaluate(run, model, test)
    return outcome.conclude(run, steps.total, speed, num_labels=num_labels, **selected, **accuracy)


def _adapted(config: Config, train: Source) -> Config:
    """With what follows from the number of images."""
    config = with_fitting_batch(config, train.num_examples)
    if config.freezing.transfer_batch_norm:
        decay = max(1 - 10 / config.steps(train.num_examples).per_epoch, 0.9)  # App. B.8
        config = config.replace(batch_norm_decay=decay)
    return config


def _ids(source: Source) -> str:
    return "".join(f"{record['id'].decode()}\n" for record in source.records().as_numpy_iterator())


def sweep(config: Config, command: Command) -> None:
    """Chooses rate and decay on validation images, trains on these too, and tests once (App. B.8).

    Each point of the grid has a run folder of its own, MODEL_DIR/sweep/..., so that a sweep goes on where
    it stopped; the model that was tested is in MODEL_DIR/chosen. A point that diverges is out of the choice.

    Raises:
        UsageError: every point diverged, or a point's folder holds a run with other flags.
    """
    set_up(config)  # as in `finetune`
    run = RunFolder.open(config, command)
    named = splits.of_protocol(config)
    train, validation = _parts(config, named)
    rows: list[Row] = []
    for rate, decay in _grid(config):
        tf.keras.backend.clear_session()
        point = _point(config, rate, decay, run.path / "sweep" / f"lr_{rate:g}_wd_{decay:g}")
        figure = _measured(point, command, train, validation, named.metric)
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


def _hold_out(source: Source, seed: int) -> tuple[Source, Source]:
    train, validation = data.split_validation(
        source.labels(), fraction=HELD_OUT, num_classes=source.num_classes, seed=seed
    )
    return source.subset(train), source.subset(validation)


def _parts(config: Config, named: splits.Splits) -> tuple[Source, Source]:
    """The images to train on and those to choose by."""
    train = inputs.train_source(config.replace(train_split=named.train), labelled=True)
    train = inputs.labelled_subset(config, train)
    if not named.validation:
        return _hold_out(train, config.run.seed)
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
    point: Config, command: Command, train: Source, validation: Source, metric: Metric
) -> float | None:
    """The validation figure of a point, from its folder where it was finished; None where it diverged."""
    try:
        return train_and_test(point, command, train, validation, reuse=True).get(metric)
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
