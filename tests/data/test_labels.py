"""Class-balanced choices of labelled examples and held-out splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_simclr.data import choose_labelled, require_labels, split_validation
from tf_simclr.data.labels import require_every_class
from tf_simclr.errors import UsageError

_LABELS = st.lists(st.integers(0, 4), min_size=5, max_size=200).map(
    lambda more: np.array([*range(5), *more])  # every class is there
)


@settings(max_examples=100, deadline=None)
@given(labels=_LABELS, fraction=st.floats(0.2, 1.0), seed=st.integers(0, 99))
def test_a_fraction_is_as_balanced_as_the_classes_allow(
    labels: np.ndarray, fraction: float, seed: int
) -> None:
    total = round(fraction * len(labels))
    if total < 5:
        return
    chosen = choose_labelled(labels, fraction=fraction, seed=seed)
    assert len(chosen) == total
    assert (np.diff(chosen) > 0).all()
    counts, sizes = np.bincount(labels[chosen], minlength=5), np.bincount(labels, minlength=5)
    assert counts.min() >= 1
    not_exhausted = counts[counts < sizes]
    if not_exhausted.size:  # a class that could give more gives as many as any other, but for the remainder
        assert not_exhausted.min() >= counts.max() - 1


@settings(max_examples=50, deadline=None)
@given(labels=_LABELS, seed=st.integers(0, 99))
def test_larger_choices_contain_smaller_ones(labels: np.ndarray, seed: int) -> None:
    smallest = np.bincount(labels).min()
    small = choose_labelled(labels, per_class=1, seed=seed)
    large = choose_labelled(labels, per_class=int(smallest), seed=seed)
    assert set(small) <= set(large)
    assert (np.bincount(labels[large]) == smallest).all()


def test_the_choice_is_seeded() -> None:
    labels = np.repeat(np.arange(3), 100)
    first = choose_labelled(labels, fraction=0.1, seed=0)
    np.testing.assert_array_equal(choose_labelled(labels, fraction=0.1, seed=0), first)
    assert (choose_labelled(labels, fraction=0.1, seed=1) != first).any()
    assert np.bincount(labels[first]).tolist() == [10, 10, 10]


def test_unlabelled_examples_are_never_chosen() -> None:
    labels = np.array([0, -1, 1, -1, 0, 1])
    assert choose_labelled(labels, fraction=1.0, seed=0).tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.01}, "--label_fraction=0.01: class"),
        ({"fraction": 0.0}, "--label_fraction"),
        ({"fraction": 1.5}, "--label_fraction"),
        ({"per_class": 3}, "class 1 has 2"),
        ({"per_class": 0}, "--labels_per_class"),
        ({"per_class": 1, "num_classes": 3}, "class 2 has 0"),
        ({"fraction": 1.0, "num_classes": 3}, "class 2 would have no example of its 0$"),
        ({"fraction": 1.0, "num_classes": 1}, "--train_split: label 1 is out of range"),
        ({}, "either"),
        ({"fraction": 0.5, "per_class": 1}, "either"),
    ],
)
def test_impossible_choices_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_labelled(np.array([0, 0, 0, 1, 1]), seed=0, **arguments)
    with pytest.raises(UsageError, match="--train_split: there are no labelled"):
        choose_labelled(np.array([-1, -1]), fraction=0.5, seed=0)


@settings(max_examples=50, deadline=None)
@given(labels=_LABELS, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_a_held_out_split_is_disjoint_stratified_and_leaves_every_class_to_train(
    labels: np.ndarray, fraction: float, seed: int
) -> None:
    train, validation = split_validation(labels, fraction=fraction, seed=seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    sizes = np.bincount(labels, minlength=5)
    held = np.bincount(labels[validation], minlength=5)
    assert (held < sizes).all()
    assert (held[sizes >= 2] >= 1).all()
    assert (np.abs(held - fraction * sizes) <= 1).all()


def test_nothing_to_hold_out_is_refused() -> None:
    with pytest.raises(UsageError, match="--train_split: no class has two"):
        split_validation(np.array([0, 1]), seed=0)


def test_every_class_needs_an_example() -> None:
    require_every_class(np.array([1, 0, -1]), ["cat", "dog"], "--dataset=x")
    with pytest.raises(UsageError, match="--dataset=x: class 'dog' has no example"):
        require_every_class(np.array([0, 0, -1, 2]), ["cat", "dog", "emu"], "--dataset=x")


def test_labels_out_of_range_are_refused() -> None:
    require_labels(np.array([0, 1, 2]), 3, "--dataset=x")
    with pytest.raises(UsageError, match="--dataset=x: example 1 has label 3"):
        require_labels(np.array([0, 3]), 3, "--dataset=x")
    with pytest.raises(UsageError, match="no label"):
        require_labels(np.array([0, -1]), 3, "--dataset=x")
