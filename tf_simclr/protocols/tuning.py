"""Fine-tuning on the labels that are given (App. B.5)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.data import Source
from tf_simclr.devices.strategies import set_up
from tf_simclr.inputs import labelled
from tf_simclr.inputs.batch_size import with_fitting_batch
from tf_simclr.protocols import outcome
from tf_simclr.runs import build
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.loading import initialize_encoder
from tf_simclr.training.fit import fit
from tf_simclr.training.plan import print_plan
from tf_simclr.training.selection import Selection

HELD_OUT = 0.1  # of the labelled images, where a data set has no validation split


def finetune(config: Config, command: Command) -> None:
    """Trains on the labels that are given and tests once."""
    strategy = set_up(config)  # before the first tensor, where several workers must meet
    train, test = inputs.train_and_test_sources(config)
    train_and_test(config, command, inputs.labelled_subset(config, train), test, strategy)


def train_and_test(
    config: Config,
    command: Command,
    train: Source,
    test: Source,
    strategy: tf.distribute.Strategy,
    *,
    reuse: bool = False,
) -> dict[str, Any]:
    """Fine-tunes on `train` in the run folder of `config`, tests on `test`; returns result.json.

    With `reuse` a finished run of the same flags is not even tested again.
    """
    labelled.require_classes(train)
    validation, num_labels = None, train.num_examples
    if config.selection.select_on_validation:
        train, validation = hold_out(train, config.run.seed)
    config = _adapted(config, train)
    steps = config.steps(train.num_examples)
    run = RunFolder.open(config, command)
    if reuse and (finished := run.read_json("result.json")):
        return finished
    set_up(config, strategy)
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


def hold_out(source: Source, seed: int) -> tuple[Source, Source]:
    """The images to train on and those to choose by, a tenth of each class."""
    train, validation = data.split_validation(
        source.labels(), fraction=HELD_OUT, num_classes=source.num_classes, seed=seed
    )
    return source.subset(train), source.subset(validation)
