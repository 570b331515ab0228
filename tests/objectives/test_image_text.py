"""InfoNCE between images and texts against loops, its special values, and its derivative by the scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.objectives.image_text import image_text

MEANINGS = [3, 1, 3, 0, 2, 1, 3]


def plain(images: np.ndarray, texts: np.ndarray, scale: float, meanings: list[int]) -> float:
    """Mean over all rows of both directions: - mean of log p over the n that mean the same, less log n."""
    pairs = len(meanings)
    cosines = [[i @ t / np.linalg.norm(i) / np.linalg.norm(t) for t in texts] for i in images]
    terms = []
    for matrix in (cosines, [list(column) for column in zip(*cosines, strict=True)]):
        for row, own in zip(matrix, meanings, strict=True):
            total = sum(math.exp(scale * cosine) for cosine in row)
            same = [c for c in range(pairs) if meanings[c] == own]
            logs = [math.log(math.exp(scale * row[c]) / total) for c in same]
            terms.append(-sum(logs) / len(same) - math.log(len(same)))
    return float(np.mean(terms))


def loss(images: np.ndarray, texts: np.ndarray, scale: float, meanings: list[int] | range) -> float:
    own, everyones, _ = image_text(
        tf.constant(images), tf.constant(texts), tf.constant(scale, tf.float64), tf.constant(list(meanings))
    )
    assert float(own) == float(everyones)
    return float(own)


def random_rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[count, 5])


@pytest.mark.parametrize("meanings", [MEANINGS, list(range(7))])
def test_it_is_the_mean_of_both_directions(meanings: list[int]) -> None:
    images, texts = random_rows(7, 0), random_rows(7, 1)
    assert loss(images, texts, 4.0, meanings) == pytest.approx(plain(images, texts, 4.0, meanings), rel=1e-12)


def test_collapsed_it_is_the_logarithm_of_the_pairs() -> None:
    ones = np.ones([12, 3])
    assert loss(ones, ones, 14.3, range(12)) == pytest.approx(math.log(12), rel=1e-12)


def test_orthonormal_pairs_have_the_closed_form() -> None:
    found = loss(np.eye(9), np.eye(9), 5.0, range(9))
    assert found == pytest.approx(math.log(1 + 8 * math.exp(-5)), rel=1e-12)


def test_equal_texts_are_no_negatives() -> None:
    """Classes that are apart: nothing is left but other classes, where a diagonal target leaves log n_c."""
    labels = [i % 4 for i in range(12)]
    one_hot = np.eye(4)[labels]
    assert loss(one_hot, one_hot, 100.0, labels) == pytest.approx(0, abs=1e-12)
    assert loss(one_hot, one_hot, 100.0, range(12)) == pytest.approx(math.log(3), rel=1e-12)


def test_images_and_texts_may_change_places() -> None:
    images, texts = random_rows(7, 0), random_rows(7, 1)
    assert loss(images, texts, 3.0, MEANINGS) == pytest.approx(loss(texts, images, 3.0, MEANINGS), rel=1e-12)


def test_its_derivative_by_t_is_the_cosine_that_is_expected_less_that_of_the_pair() -> None:
    """dL/dt = s * mean over both directions of (E_p[cos] - cos+), for s = exp(t)."""
    images, texts = random_rows(6, 0), random_rows(6, 1)
    t = tf.constant(1.2, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(t)
        own, *_ = image_text(tf.constant(images), tf.constant(texts), tf.exp(t), tf.range(6))
    unit_images, unit_texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
    cosines = unit_images @ unit_texts.T
    terms = []
    for matrix in (cosines, cosines.T):
        p = np.exp(math.exp(1.2) * matrix)
        p /= p.sum(axis=1, keepdims=True)
        terms.append(np.mean(np.sum(p * matrix, axis=1) - np.diag(matrix)))
    assert float(tape.gradient(own, t)) == pytest.approx(math.exp(1.2) * np.mean(terms), rel=1e-10)


def test_accuracy_counts_what_means_the_same() -> None:
    one_hot = np.eye(3)[[0, 1, 0, 2]]
    _, _, accuracy = image_text(
        tf.constant(one_hot),
        tf.constant(one_hot[[0, 1, 2, 1]]),
        tf.constant(9.0, tf.float64),
        tf.constant([0, 1, 0, 2]),
    )
    assert float(accuracy) == pytest.approx((3 + 3) / 8)
