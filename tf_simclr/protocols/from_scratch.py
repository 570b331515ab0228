"""Training without pretraining on a few labels: what pretraining has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import Diverged
from tf_simclr.evaluation.label_efficiency import LabelEfficiency
from tf_simclr.evaluation.metrics import top_k_accuracy
from tf_simclr.progress import progress_bar
from tf_simclr.runs import build

NAME = "from scratch"


def from_scratch(
    config: Config, train: Source, test: Source, labels_per_class: Sequence[int | None], num_draws: int
) -> list[LabelEfficiency]:
    """Trains encoder and classifier from random weights on draws of the labels; draw i has seed i.

    The model is compiled once; every draw starts from the same random weights and a fresh optimizer.
    """
    steps = config.steps(train.num_examples)
    model = build.compiled(build.classifier(config, train.num_classes), config, steps)
    fresh = [variable.numpy() for variable in _state(model)]
    logits = tf.function(model)
    test_batches = list(inputs.evaluation_batches(config.data, test))
    draws = [(number, range(num_draws if number else 1)) for number in labels_per_class]
    rows = []
    with progress_bar(total=sum(len(seeds) for _, seeds in draws), desc=NAME, unit=" trainings") as bar:
        for number, seeds in draws:
            accuracies = []
            for seed in seeds:
                for variable, value in zip(_state(model), fresh, strict=True):
                    variable.assign(value)
                batches = inputs.training_batches(config.replace(seed=seed), _draw(train, number, seed))(0)
                model.watch().allow(config.optimization.skip_nonfinite_steps)
                model.fit(batches, steps_per_epoch=steps.total, verbose=0)
                _require_finite(model)
                scores = np.concatenate([logits(batch["image"]) for batch in test_batches])
                accuracies.append(top_k_accuracy(scores, test.labels(), 1))
                bar.update()
            rows.append(LabelEfficiency(NAME, number, np.array(accuracies)))
    return rows


def _require_finite(model: tf.keras.Model) -> None:
    _, broken = model.watch().read()
    if broken is not None:
        raise Diverged(
            f"step {broken.step:,} of training from scratch: the {broken.part} is not finite; lower "
            "--learning_rate, or leave it out by --num_scratch_draws=0"
        )


def _state(model: tf.keras.Model) -> list[tf.Variable]:
    optimizer = model.optimizer.variables
    return [*model.variables, *(optimizer() if callable(optimizer) else optimizer)]


def _draw(train: Source, per_class: int | None, seed: int) -> Source:
    if per_class is None:
        return train
    return train.subset(data.choose_labelled(train.labels(), per_class=per_class, seed=seed))
