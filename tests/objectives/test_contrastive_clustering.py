"""Contrastive clustering by plain Python, its closed forms, and its gradient where a distance is 0."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.objectives.contrastive_clustering import contrastive_clustering, distances


def loss_by_loops(
    features: np.ndarray,
    labels: list[int],
    prototypes: np.ndarray,
    present: list[bool],
    margin: float,
    norm: float,
) -> list[float]:
    """Eq. 1, a feature and a class at a time."""
    losses = []
    for feature, label in zip(features, labels, strict=True):
        loss = 0.0
        for number, prototype in enumerate(prototypes):
            apart = sum(abs(f - p) ** norm for f, p in zip(feature, prototype, strict=True)) ** (1 / norm)
            if present[number]:
                loss += apart if number == label else max(0.0, margin - apart)
        losses.append(loss)
    return losses


@pytest.mark.parametrize(("margin", "norm"), [(10.0, 2.0), (2.0, 10.0), (1.5, 1.0), (3.0, 3.5)])
def test_the_loss_is_that_of_eq_1(margin: float, norm: float) -> None:
    rng = np.random.default_rng(0)
    features, prototypes = rng.normal(size=[7, 5]), rng.normal(size=[4, 5])
    labels, present = [0, 1, 2, 3, 2, 0, -1], [True, True, False, True]
    found = contrastive_clustering(
        tf.constant(features),
        tf.constant(labels),
        tf.constant(prototypes),
        tf.constant(present),
        margin,
        norm,
    )
    np.testing.assert_allclose(found, loss_by_loops(features, labels, prototypes, present, margin, norm))


def test_where_all_are_one_point_each_other_class_costs_the_margin() -> None:
    same = tf.fill([6, 8], 0.3)
    found = contrastive_clustering(same[:4], tf.range(4), same, tf.fill([6], True), margin=10.0)
    np.testing.assert_allclose(found, np.full(4, 10.0 * (6 - 1)), rtol=1e-6)


@pytest.mark.parametrize("norm", [1.0, 2.0, 10.0])
def test_a_distance_of_0_has_a_finite_gradient_and_others_the_norms(norm: float) -> None:
    features = tf.Variable([[1.0, -2.0], [4.0, 2.0]])
    with tf.GradientTape() as tape:
        apart = distances(features, tf.constant([[1.0, -2.0]]), norm)
    expected = (3.0**norm + 4.0**norm) ** (1 / norm)
    np.testing.assert_allclose(apart, [[0.0], [expected]], atol=1e-12)
    gradient = tape.gradient(apart, features)
    slope = np.array([3.0, 4.0]) ** (norm - 1) * expected ** (1 - norm)
    np.testing.assert_allclose(gradient, [[0.0, 0.0], slope], rtol=1e-5)


def test_a_tenth_power_of_what_is_large_or_small_stays_in_float32() -> None:
    apart = distances(tf.constant([[1e6], [1e-6]]), tf.constant([[0.0]]), norm=10.0)
    np.testing.assert_allclose(apart, [[1e6], [1e-6]], rtol=1e-5)
