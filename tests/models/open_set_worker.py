"""Trains an open-set classifier on one and on two virtual devices and compares; run by test_open_set.py."""

from __future__ import annotations

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tests.models.labelled_steps import Values, compare, fitted
from tf_simclr.checks import parity
from tf_simclr.models import OpenSet
from tf_simclr.models.open_set import Clustering
from tf_simclr.optimizers import LARS

STEPS, CLASSES = 5, 3
CLUSTERING = Clustering(weight=0.5, margin=2.0, queue_size=4, start_step=2, between_steps=2, momentum=0.5)


def trained(strategy: tf.distribute.Strategy) -> Values:
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = OpenSet(parity.small_encoder(), CLASSES, clustering=CLUSTERING)
        model.compile(optimizer=LARS(0.5, weight_decay=1e-2, trust_coefficient=0.1))
    values = fitted(model, strategy, CLASSES, STEPS)
    assert values["clustering_loss"][-1] > 0
    assert any(name.endswith("pushed:0") for name in values)
    return values


if __name__ == "__main__":
    compare(trained)
    print("weights, prototypes, queues and figures agree")
