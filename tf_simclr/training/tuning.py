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
from tf_simclr.errors import UsageError
from tf_simclr.flag_definitions import Command
from tf_simclr.training import build, inputs, outcome, splits
from tf_simclr.training.fit import Speed, fit
from tf_simclr.training.loading import initialize_encoder
from tf_simclr.training.plan import print_plan
from tf_simclr.training.run_folder import RunFolder
from tf_simclr.training.strategy import set_up
from tf_simclr.training.validating import Selection

HELD_OUT = 0.1  # of the labelled images, where a data set has no validation split


def finetune(config: Config, command: Command) -> None:
    """Trains on the labels that are given and tests once."""
    train = inputs.labelled_subset(config, inputs.train_source(config, labelled=True))
    train_and_test(config, command, train, inputs.eval_source(config))


def train_and_test(config: Config, command: Command, train: Source, test: Source) -> dict[str, Any]:
    """Fine-tunes on `train` in the run folder of `config`, tests on `test`; returns result.json."""
    validation = None
    if config.freezing.select_on_validation:
        train, validation = _hold_out(train, config.run.seed)
    steps = config.steps(train.num_examples)
    if config.freezing.transfer_batch_norm:
        config = config.replace(batch_norm_decay=max(1 - 10 / steps.per_epoch, 0.9))  # App. B.8
    run = RunFolder.open(config, command)
    strategy = set_up(config)
    with strategy.scope():
        model = build.classifier(config, train.num_classes)
        model.encoder.freeze(config.freezing.fine_tune_after_block)
        build.compiled(model, config, steps)
    initialize_encoder(model, config)
    run.write_data(train)
    if config.labels.labels_per_class or config.labels.label_fraction < 1 or validation:
        run.write_labelled_ids(train)
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
    return outcome.conclude(run, steps.total, speed, num_labels=train.num_examples, **selected, **accuracy)


def sweep(config: Config, command: Command) -> None:
    """Chooses rate and decay on validation images, trains on these too, and tests once (App. B.8).

    Each point of the grid has a run folder of its own, MODEL_DIR/sweep/..., so that a sweep goes on where
    it stopped; the model that was tested is in MODEL_DIR/chosen.
    """
    run = RunFolder.open(config, command)
    named = splits.of_protocol(config)
    train, validation = _parts(config, named)
    rows = []
    for rate, decay in _grid(config):
        tf.keras.backend.clear_session()
        point = _point(config, rate, decay, run.path / "sweep" / f"lr_{rate:g}_wd_{decay:g}")
        result = _finished(point) or train_and_test(point, command, train, validation)
        rows.append({"learning_rate": rate, "weight_decay": decay, "validation": result[named.metric]})
    print(_table(rows, named.metric))
    best = max(rows, key=lambda row: row["validation"])
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


def _finished(point: Config) -> dict[str, Any]:
    return RunFolder(epath.Path(point.run.model_dir), point).read_json("result.json")


def _table(rows: list[dict[str, float]], metric: str) -> str:
    lines = [f"{'learning rate':>14}{'weight decay':>14}  validation {metric}, %"]
    lines += [
        f"{row['learning_rate']:>14g}{row['weight_decay']:>14g}  {row['validation']:.2f}" for row in rows
    ]
    return "\n".join(lines)


def _conclude(
    run: RunFolder, chosen: RunFolder, rows: list[dict[str, float]], best: dict[str, float]
) -> None:
    """The sweep's own result: the chosen point's test figures, and the whole table."""
    result = chosen.read_json("result.json")
    run.write_json("data.json", chosen.read_json("data.json"))
    with np.load(chosen.path / "predictions.npz") as stored:
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
