"""Steps on images of which some have labels, on one and on two virtual CPU devices in float64.

For scripts of their own: virtual devices must be set before TensorFlow starts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.devices.distribution import distributed_batches

IMAGES = 16

Values = dict[str, np.ndarray]


def fitted(model: tf.keras.Model, strategy: tf.distribute.Strategy, num_classes: int, steps: int) -> Values:
    """All variables and figures after the steps; replicas have unequally many labels."""
    rng = np.random.default_rng(0)
    parts = {
        "image": rng.uniform(size=[steps, IMAGES, parity.SIDE, parity.SIDE, 3]),
        "label": rng.integers(0, num_classes, [steps, IMAGES]),
    }
    parts["label"][:, : IMAGES // 4] = -1

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(parts)

    batches = distributed_batches(strategy, batches_from, 0, IMAGES)
    history = model.fit(batches, steps_per_epoch=steps, verbose=0).history
    values = {f"{i} {variable.name}": variable.numpy() for i, variable in enumerate(model.variables)}
    return values | {name: np.array(value) for name, value in history.items()}


def compare(trained: Callable[[tf.distribute.Strategy], Values]) -> None:
    """Fails where the values of one device and of two are not the same."""
    devices = parity.virtual_devices(2)
    tf.keras.backend.set_floatx("float64")
    one, two = trained(tf.distribute.get_strategy()), trained(tf.distribute.MirroredStrategy(devices))
    assert len(one) == len(two)
    for (name, value), other in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-9, atol=1e-12, err_msg=name)
