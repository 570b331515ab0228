"""`python -m tf_simclr.finetune`: fine-tuning on a fraction of the labels (App. B.5)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config, Steps
from tf_simclr.config.flags import Command

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr import data, inputs, models, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.inputs import labelled
    from tf_simclr.protocols import predictions, repeats, results, sweeping
    from tf_simclr.runs import build
    from tf_simclr.training import selection

_OWN = "labels freezing selection sweep repeats comparison"
COMMAND = Command(
    "finetune",
    "train encoder and classifier on a fraction of the labels; from scratch without --checkpoint",
    f"data views augmentation encoder head optimization extension {_OWN} checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_epochs": 60,
        "zero_init_logits_layer": True,
    },
)


def finetune(config: Config) -> dict[str, Any]:
    return repeats.over_seeds(config, COMMAND, sweep if config.sweep.sweep else finetune_once)


def sweep(config: Config) -> dict[str, Any]:
    return sweeping.sweep(config, COMMAND, train_and_test)


def finetune_once(config: Config) -> dict[str, Any]:
    """Trains on the labels that are given and tests once."""
    strategy = strategies.set_up(config)  # before the first tensor, where several workers must meet
    train, test = inputs.train_and_test_sources(config)
    train = labelled.subset(train, config.labels, config.run.seed)
    return train_and_test(config, train, test, strategy)


def train_and_test(
    config: Config,
    train: data.Source,
    test: data.Source,
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
        train, validation = labelled.hold_out(train, config.run.seed)
    config = _adapted(config, train.num_examples)
    steps = config.steps(train.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    if reuse and (finished := run.read_json("result.json")):
        return finished
    strategies.set_up(config, strategy)
    with strategy.scope():
        model = _model(config, train.num_classes, steps)
    runs.initialize_encoder(model, config)
    _write_data(run, train, validation)
    training.print_plan(run, train, steps, model, strategy)
    speed, selected = _fit(run, model, train, validation, steps)
    accuracy = predictions.of_classifier(run, model, test)
    return results.conclude(run, steps.total, speed, num_labels=num_labels, **selected, **accuracy)


def _adapted(config: Config, num_examples: int) -> Config:
    """With what follows from the number of images."""
    config = inputs.with_fitting_batch(config, num_examples)
    if config.freezing.transfer_batch_norm:
        decay = max(1 - 10 / config.steps(num_examples).per_epoch, 0.9)  # App. B.8
        config = config.replace(batch_norm_decay=decay)
    return config


def _model(config: Config, num_classes: int, steps: Steps) -> models.Classifier:
    model = build.classifier(config, num_classes)
    model.encoder.freeze(config.freezing.fine_tune_after_block)
    return build.compiled(model, config, steps)


def _write_data(run: runs.RunFolder, train: data.Source, validation: data.Source | None) -> None:
    """What is trained on and, where that is not all, which images."""
    run.write_data(train)
    run.keep_listing(train)
    if labelled.is_part(run.config.labels) or validation is not None:
        run.write_labelled_ids(train)
    if validation is not None:
        run.write("validation_ids.txt", "".join(f"{name}\n" for name in validation.names()))


def _fit(
    run: runs.RunFolder,
    model: models.Classifier,
    train: data.Source,
    validation: data.Source | None,
    steps: Steps,
) -> tuple[training.Speed, dict[str, Any]]:
    """Trains; with validation images the best checkpoint is the run's, and the result says which."""
    batches = inputs.training_batches(run.config, train, model.num_uniforms)
    if validation is None:
        return training.fit(model, batches, steps, run), {}
    choice = selection.Selection(run, model, validation, steps)
    speed = training.fit(model, batches, steps, run, choice.watcher)
    return speed, choice.restore_best()


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, finetune, arguments)


if __name__ == "__main__":
    sys.exit(main())
