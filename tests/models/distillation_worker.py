"""Distils on one and on two virtual devices and compares; run by test_distillation.py."""

from __future__ import annotations

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tests.models.labelled_steps import Values, compare, fitted
from tf_simclr.checks import parity
from tf_simclr.models import Classifier, Distillation
from tf_simclr.optimizers import LARS

STEPS, CLASSES = 3, 5


def distilled(strategy: tf.distribute.Strategy) -> Values:
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        teacher = Classifier(parity.small_encoder(), CLASSES)
        teacher.compile()
        for variable in teacher.variables:
            variable.assign(variable + 0.1)
        student = Distillation(
            parity.small_encoder(), CLASSES, teacher=teacher, temperature=0.1, label_weight=0.3
        )
        student.compile(optimizer=LARS(0.5, weight_decay=1e-2, trust_coefficient=0.1))
    before = [variable.numpy() for variable in teacher.variables]
    values = fitted(student, strategy, CLASSES, STEPS)
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    return values


if __name__ == "__main__":
    compare(distilled)
    print("weights, statistics and figures agree")
