"""The open-set classifier's loss and when it clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import finish, start
from tf_simclr.checks import parity
from tf_simclr.models import OpenSet
from tf_simclr.models.open_set import Clustering, Outputs
from tf_simclr.objectives.contrastive_clustering import contrastive_clustering

WORKER = Path(__file__).with_name("open_set_worker.py")


def made(**changes: float) -> OpenSet:
    model = OpenSet(parity.small_encoder(), 3, clustering=Clustering(queue_size=4, **changes))
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    return model


def test_the_clustering_is_averaged_over_features_and_classes_and_weighed() -> None:
    model, rng = made(weight=0.3, margin=2.0), np.random.default_rng(0)
    labels = tf.constant([0, 1, 2, -1, 1])
    outputs = Outputs(*(tf.constant(rng.normal(size=[5, n]), tf.float32) for n in (8, 3)))
    alone = model.objective(outputs, labels, None)
    prototypes = rng.normal(size=[3, 8]).astype(np.float32)
    model.clusters.prototypes.assign(prototypes)
    model.clusters.moves.assign([1, 1, 0])
    found = model.objective(outputs, labels, None)
    present = tf.constant([True, True, False])
    losses = contrastive_clustering(outputs.features, labels, tf.constant(prototypes), present, 2.0)
    mean = np.mean(np.delete(losses.numpy(), 3)) / 2  # of 4 labelled features and 2 prototypes
    np.testing.assert_allclose(found - alone, 0.3 * mean, rtol=1e-5)
    logs = model.measured(labels, outputs, None)
    np.testing.assert_allclose([logs["clustering_loss"], logs["loss"]], [mean, alone], rtol=1e-5)


def test_prototypes_move_at_the_steps_that_are_due() -> None:
    model = made(start_step=2, between_steps=3)
    images = tf.random.stateless_uniform([6, parity.SIDE, parity.SIDE, 3], [0, 1])
    batch = {"image": images, "label": tf.constant([0, 1, 2, 0, 1, 2])}
    moves = []
    for _ in range(6):
        model.train_step(batch)
        moves.append(int(model.clusters.moves[0]))
    assert moves == [0, 1, 1, 1, 2, 2]


@pytest.mark.slow
def test_two_replicas_train_as_one() -> None:
    assert "weights, prototypes, queues and figures agree" in finish(start([str(WORKER)]))
