"""`python -m tf_simclr.linear_eval`: a linear classifier on a frozen encoder (App. B.6)."""

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
    from tf_simclr.protocols import on_features, pictures, predictions, proof, repeats, results
    from tf_simclr.runs import build

_OWN = "labels repeats comparison"
COMMAND = Command(
    "linear_eval",
    "train a linear classifier on a frozen encoder and test it",
    f"data views augmentation encoder head optimization extension {_OWN} checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_epochs": 90,
    },
)


def linear_eval(config: Config) -> dict[str, Any]:
    return repeats.over_seeds(config, COMMAND, linear_eval_once)


def linear_eval_once(config: Config) -> dict[str, Any]:
    """Trains the classifier on h, or on the head layer of --ft_proj_selector, and tests it.

    Raises:
        proof.FrozenEncoderMoved: encoder or projection head are not what they were.
    """
    strategy = strategies.set_up(config)
    train, test = inputs.train_and_test_sources(config)
    train = labelled.subset(train, config.labels, config.run.seed)
    labelled.require_classes(train)
    config = inputs.with_fitting_batch(config, train.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    steps = config.steps(train.num_examples)
    with strategy.scope():
        model = _frozen_model(config, train.num_classes, steps)
    runs.initialize_encoder(model, config)
    run.write_data(train)
    run.keep_listing(train)
    if labelled.is_part(config.labels):
        run.write_labelled_ids(train)
    training.print_plan(run, train, steps, model, strategy)

    with proof.frozen(model.encoder, model.projection_head) as hashes:
        if config.labels.augment == "none":
            batches = on_features.feature_batches(run, model, train)
        else:
            batches = inputs.training_batches(config, train, model.num_uniforms)
        speed = training.fit(model, batches, steps, run)
        accuracy = _test(run, model, test)
    return results.conclude(run, steps.total, speed, **hashes, num_labels=train.num_examples, **accuracy)


def _frozen_model(config: Config, num_classes: int, steps: Steps) -> models.Classifier:
    kind = on_features.FeatureClassifier if config.labels.augment == "none" else None
    model = build.classifier(config, num_classes, kind)
    model.freeze_encoder()
    return build.compiled(model, config, steps)


def _test(run: runs.RunFolder, model: models.Classifier, test: data.Source) -> dict[str, Any]:
    """The accuracies in percent; the features that the classifier sees are drawn too."""
    seen = labelled.features(run.config.data, model.features, test)
    if not model.head_layer:
        pictures.tsne(run, seen, model.projection_head, test.class_names)
    scores = model.classifier(tf.constant(seen.values)).numpy()
    return {**predictions.write(run, test, seen._replace(values=scores)), "eval_split": test.split}


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, linear_eval, arguments)


if __name__ == "__main__":
    sys.exit(main())
