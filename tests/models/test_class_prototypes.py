"""Queues and prototypes by plain Python: what stays, what moves, and when."""

from __future__ import annotations

from collections import deque

import numpy as np
import tensorflow as tf

from tf_simclr.models.class_prototypes import ClassPrototypes

CLASSES, WIDTH, SIZE = 4, 3, 5


def test_each_class_keeps_its_latest_features_and_its_prototype_follows_them() -> None:
    """Class 3 never comes; class 0 has more features in a batch than its queue holds."""
    rng = np.random.default_rng(0)
    clusters = ClassPrototypes(CLASSES, WIDTH, SIZE, tf.float64)
    push, move = tf.function(clusters.push), tf.function(clusters.move)
    queues = [deque(maxlen=SIZE) for _ in range(CLASSES)]
    prototypes: list[np.ndarray | None] = [None] * CLASSES
    for step in range(6):
        features = rng.normal(size=[12, WIDTH])
        labels = np.array([0] * 7 + [-1, 1, 2, 1, 0]) if step != 1 else rng.integers(-1, 2, 12)
        push(tf.constant(features), tf.constant(labels))
        for feature, label in zip(features, labels, strict=True):
            if label >= 0:
                queues[label].append(feature)
        move(0.75, tf.constant(step % 2 == 0))
        for number, queue in enumerate(queues):
            if step % 2 == 0 and queue:
                old, mean = prototypes[number], np.mean(queue, axis=0)
                prototypes[number] = mean if old is None else 0.75 * old + 0.25 * mean
            kept = clusters.features[number][: len(queue)].numpy().tolist()
            np.testing.assert_array_equal(sorted(kept), sorted(row.tolist() for row in queue))
    expected = [np.zeros(WIDTH) if own is None else own for own in prototypes]
    np.testing.assert_allclose(clusters.prototypes, expected, rtol=1e-12)
    np.testing.assert_array_equal(clusters.present, [True, True, True, False])
    np.testing.assert_array_equal(clusters.moves, [3, 3, 3, 0])


def test_nothing_moves_before_it_is_due() -> None:
    clusters = ClassPrototypes(2, WIDTH, SIZE)
    clusters.push(tf.ones([2, WIDTH]), tf.constant([0, 1]))
    clusters.move(0.9, tf.constant(False))
    np.testing.assert_array_equal(clusters.prototypes, np.zeros([2, WIDTH]))
    assert not clusters.present.numpy().any()
