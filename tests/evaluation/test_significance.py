"""The permutation test against the exact test it approximates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from tf_simclr.errors import UsageError
from tf_simclr.evaluation.significance import compare_predictions, mcnemar_exact, permutation_test


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (12, 4), (30, 22), (60, 60), (420, 350)])
def test_permutation_test_approximates_mcnemar(only_a, only_b):
    differences = np.array([1.0] * only_a + [-1.0] * only_b + [0.0] * 100)
    exact = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(exact)
    standard_error = np.sqrt(exact * (1 - exact) / 100_000)
    assert permutation_test(differences) == pytest.approx(exact, abs=4 * standard_error + 2e-5)


def test_permutation_test_of_unequal_weights_counts_all_signs():
    differences = np.array([0.5, 0.5, -0.3, 0.2, 0.2, 0.7, -0.1, 0.0])
    sums = [np.dot(signs, differences) for signs in itertools.product([-1, 1], repeat=len(differences))]
    exact = np.mean(np.abs(sums) >= differences.sum() - 1e-9)
    assert permutation_test(differences) == pytest.approx(exact, abs=0.006)
    assert permutation_test(-differences) == pytest.approx(exact, abs=0.006)


def test_seed_repeats():
    differences = np.array([1.0] * 12 + [-1.0] * 4)
    assert permutation_test(differences, seed=1) == permutation_test(differences, seed=1)
    assert permutation_test(differences, seed=1) != permutation_test(differences, seed=2)


def test_p_value_is_never_zero():
    assert permutation_test(np.ones(1000)) == pytest.approx(1 / 100_001)


def save(path, prediction, label, ids=None):
    ids = np.array([f"id{i}" for i in range(len(label))]) if ids is None else ids
    np.savez(path, id=ids, label=label, prediction=prediction)
    return path


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 200) * rng.integers(0, 2, 200)  # classes of unequal size
    a = np.where(rng.random(200) < 0.8, label, 3)
    b = np.where(rng.random(200) < 0.6, label, 3)
    return label, a, b


def test_runs_are_paired_by_id(tmp_path, runs):
    label, a, b = runs
    order = np.random.default_rng(1).permutation(200)
    path_a = save(tmp_path / "a.npz", a, label)
    path_b = save(tmp_path / "b.npz", b[order], label[order], np.array([f"id{i}" for i in order]))
    comparison = compare_predictions(path_a, path_b)
    assert comparison.accuracy_a == pytest.approx(100 * np.mean(a == label))
    assert comparison.accuracy_b == pytest.approx(100 * np.mean(b == label))
    assert comparison.only_a_right == np.sum((a == label) & (b != label))
    assert comparison.only_b_right == np.sum((b == label) & (a != label))
    exact = scipy.stats.binomtest(
        comparison.only_a_right, comparison.only_a_right + comparison.only_b_right
    ).pvalue
    assert comparison.p_mcnemar == pytest.approx(exact)
    assert comparison.p_permutation == pytest.approx(exact, abs=0.005)


def test_mean_per_class_weighs_classes_alike(tmp_path, runs):
    label, a, b = runs
    comparison = compare_predictions(
        save(tmp_path / "a.npz", a, label), save(tmp_path / "b.npz", b, label), metric="mean_per_class"
    )
    expected = 100 * np.mean([np.mean(a[label == c] == c) for c in np.unique(label)])
    assert comparison.accuracy_a == pytest.approx(expected)
    assert comparison.p_mcnemar is None


def test_multi_label_runs_compare_on_accuracy(tmp_path):
    label = np.random.default_rng(0).integers(0, 2, (50, 3))
    flipped = label.copy()
    flipped[:20, 0] = 1 - flipped[:20, 0]
    comparison = compare_predictions(
        save(tmp_path / "a.npz", label, label), save(tmp_path / "b.npz", flipped, label)
    )
    assert comparison.accuracy_b == pytest.approx(100 * (1 - 20 / 150))
    assert (comparison.only_a_right, comparison.only_b_right) == (20, 0)
    assert comparison.p_permutation < 1e-4
    assert comparison.p_mcnemar is None


def test_difficult_labels_do_not_count(tmp_path):
    label = np.array([[1, 0, -1], [0, -1, 1], [-1, -1, -1]])
    right, wrong = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]]), np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]])
    comparison = compare_predictions(
        save(tmp_path / "a.npz", right, label), save(tmp_path / "b.npz", wrong, label)
    )
    assert (comparison.num_examples, comparison.accuracy_a, comparison.accuracy_b) == (2, 100.0, 75.0)


@pytest.mark.parametrize("change", ["fewer", "ids", "labels"])
def test_different_examples_are_refused(tmp_path, runs, change):
    label, a, b = runs
    path_a = save(tmp_path / "a.npz", a, label)
    if change == "fewer":
        path_b = save(tmp_path / "b.npz", b[:-1], label[:-1])
    elif change == "ids":
        path_b = save(tmp_path / "b.npz", b, label, np.array([f"other{i}" for i in range(200)]))
    else:
        path_b = save(tmp_path / "b.npz", b, (label + 1) % 4)
    with pytest.raises(UsageError, match="--compare_with"):
        compare_predictions(path_a, path_b)


@pytest.mark.parametrize("content", [None, b"", b"no zip"])
def test_unreadable_file_is_one_clear_line(tmp_path, runs, content):
    path_a = save(tmp_path / "a.npz", runs[1], runs[0])
    path_b = tmp_path / "b.npz"
    if content is not None:
        path_b.write_bytes(content)
    with pytest.raises(UsageError, match=r"b\.npz is not a readable"):
        compare_predictions(path_a, path_b)
