"""Distils on one and on two virtual CPU devices in float64 and compares; run by test_distillation.py.

A script of its own, since virtual devices must be set before TensorFlow starts.
"""

from __future__ import annotations

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.devices.distribution import distributed_batches
from tf_simclr.models import Classifier, Distillation
from tf_simclr.optimizers import LARS

IMAGES, STEPS, CLASSES = 16, 3, 5


def distilled(strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Weights, statistics and figures after a few steps; replicas have unequally many labels."""
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
    rng = np.random.default_rng(0)
    parts = {
        "image": rng.uniform(size=[STEPS, IMAGES, parity.SIDE, parity.SIDE, 3]),
        "label": rng.integers(0, CLASSES, [STEPS, IMAGES]),
    }
    parts["label"][:, : IMAGES // 4] = -1

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(parts)

    before = [variable.numpy() for variable in teacher.variables]
    batches = distributed_batches(strategy, batches_from, 0, IMAGES)
    history = student.fit(batches, steps_per_epoch=STEPS, verbose=0).history
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    values = {f"{i} {variable.name}": variable.numpy() for i, variable in enumerate(student.variables)}
    return values | {name: np.array(value) for name, value in history.items()}


def main() -> None:
    devices = parity.virtual_devices(2)
    tf.keras.backend.set_floatx("float64")
    one, two = distilled(tf.distribute.get_strategy()), distilled(tf.distribute.MirroredStrategy(devices))
    assert len(one) == len(two)
    for (name, value), other in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-9, atol=1e-12, err_msg=name)
    print("weights, statistics and figures agree")


if __name__ == "__main__":
    main()
