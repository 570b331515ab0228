"""Trains an open-set classifier on one and on two virtual CPU devices in float64 and compares.

Run by test_open_set.py: a script of its own, since virtual devices must be set before TensorFlow starts.
"""

from __future__ import annotations

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.devices.distribution import distributed_batches
from tf_simclr.models import OpenSet
from tf_simclr.models.open_set import Clustering
from tf_simclr.optimizers import LARS

IMAGES, STEPS, CLASSES = 16, 5, 3
CLUSTERING = Clustering(weight=0.5, margin=2.0, queue_size=4, start_step=2, between_steps=2, momentum=0.5)


def trained(strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Weights, state and figures after a few steps; replicas have unequally many labels."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = OpenSet(parity.small_encoder(), CLASSES, clustering=CLUSTERING)
        model.compile(optimizer=LARS(0.5, weight_decay=1e-2, trust_coefficient=0.1))
    rng = np.random.default_rng(0)
    parts = {
        "image": rng.uniform(size=[STEPS, IMAGES, parity.SIDE, parity.SIDE, 3]),
        "label": rng.integers(0, CLASSES, [STEPS, IMAGES]),
    }
    parts["label"][:, : IMAGES // 4] = -1

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(parts)

    batches = distributed_batches(strategy, batches_from, 0, IMAGES)
    history = model.fit(batches, steps_per_epoch=STEPS, verbose=0).history
    assert history["clustering_loss"][-1] > 0
    values = {f"{i} {variable.name}": variable.numpy() for i, variable in enumerate(model.variables)}
    assert any(name.endswith("pushed:0") for name in values)
    return values | {name: np.array(value) for name, value in history.items()}


def main() -> None:
    devices = parity.virtual_devices(2)
    tf.keras.backend.set_floatx("float64")
    one, two = trained(tf.distribute.get_strategy()), trained(tf.distribute.MirroredStrategy(devices))
    assert len(one) == len(two)
    for (name, value), other in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-9, atol=1e-12, err_msg=name)
    print("weights, prototypes, queues and figures agree")


if __name__ == "__main__":
    main()
