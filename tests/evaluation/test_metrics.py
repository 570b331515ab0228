"""Metrics against cases worked by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from tf_simclr.evaluation import metrics
from tf_simclr.evaluation.paper_transfer import PAPER_DATASETS, paper_dataset


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6))
def test_top_k_agrees_with_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((30, 7)), rng.integers(0, 7, 30)
    expected = sklearn.metrics.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(7))
    assert metrics.top_k_accuracy(scores, labels, k) == pytest.approx(100 * expected)


def test_top_k_of_equal_scores_prefers_the_lower_class():
    scores = np.zeros((3, 3))
    assert metrics.top_k_accuracy(scores, np.array([0, 1, 2]), 1) == pytest.approx(100 / 3)
    assert metrics.top_k_accuracy(scores, np.array([0, 1, 2]), 2) == pytest.approx(200 / 3)


def test_top5_of_five_classes_is_unknown():
    assert metrics.top_k_accuracy(np.eye(5), np.arange(5), 5) is None
    assert metrics.top_k_accuracy(np.ones((1, 1)), np.array([0]), 1) == 100


def test_mean_per_class_weighs_classes_alike():
    labels = np.array([0, 0, 0, 0, 2, 2])
    predictions = np.array([0, 0, 0, 1, 2, 0])
    per_class = metrics.per_class_accuracy(predictions, labels, 4)
    np.testing.assert_allclose(per_class, [75, np.nan, 50, np.nan])
    assert metrics.mean_per_class_accuracy(predictions, labels) == 62.5
    assert metrics.score("top1", np.eye(3)[predictions], labels) == pytest.approx(400 / 6)
    assert metrics.score("mean_per_class", np.eye(3)[predictions], labels) == 62.5


def test_voc_average_precision_worked_by_hand():
    # In order of score: right, wrong, right, wrong, wrong, right.
    # Recall 1/3 at precision 1, 2/3 at 2/3, 1 at 1/2, so that recalls 0 to 0.3 take 1, 0.4 to 0.6 take 2/3
    # and 0.7 to 1 take 1/2.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    relevant = np.array([1, 0, 1, 0, 0, 1], bool)
    expected = 100 * (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11
    assert metrics.voc_average_precision(scores, relevant) == pytest.approx(expected)
    shuffled = np.random.default_rng(0).permutation(6)
    assert metrics.voc_average_precision(scores[shuffled], relevant[shuffled]) == pytest.approx(expected)


def test_recall_that_is_a_tenth_exactly_counts():
    relevant = np.zeros(40, bool)
    relevant[:3] = relevant[-7:] = True  # recall 0.3 at precision 1, then 1 at 10 / 40
    expected = 100 * (4 * 1 + 7 * 0.25) / 11
    assert metrics.voc_average_precision(-np.arange(40.0), relevant) == pytest.approx(expected)


@given(seed=st.integers(0, 10_000))
def test_voc_average_precision_is_near_scikit_learns_area(seed):
    rng = np.random.default_rng(seed)
    relevant = rng.random(300) < 0.3
    scores = rng.random(300) + 0.5 * relevant
    area = 100 * sklearn.metrics.average_precision_score(relevant, scores)
    interpolated = metrics.voc_average_precision(scores, relevant)
    # Interpolation takes the best precision at higher recall, so it may not be much below the plain area.
    assert area - 3 < interpolated < area + 12


def test_voc_map_ignores_difficult_and_absent_classes():
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.9, 0.2], [0.1, 0.3, 0.1]])
    labels = np.array([[-1, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert metrics.voc_map(scores, labels) == 100  # the difficult first would have halved class 0
    labels[0, 0] = 0
    assert metrics.voc_map(scores, labels) == 75


def test_paper_table():
    assert len(PAPER_DATASETS) == 12
    # Mean of the paper's twelve, from Tables 8 and B.5 as published.
    assert sum(row.linear_1x for row in PAPER_DATASETS) == pytest.approx(847.5)
    assert sum(row.linear_4x for row in PAPER_DATASETS) == pytest.approx(929.1)
    assert [row.title for row in PAPER_DATASETS if row.metric == "mean_per_class"] == [
        "Aircraft",
        "Pets",
        "Caltech-101",
        "Flowers",
    ]
    assert paper_dataset("cifar10:3.0.2").title == "CIFAR-10"
    assert paper_dataset("voc").metric == "voc_map"
    assert paper_dataset("sun397/standard-part1-120k:4.0.0").title == "SUN397"
    assert paper_dataset("sun397") is None  # TFDS's default there is a random split
    assert paper_dataset("digits") is None
    assert paper_dataset("") is None
