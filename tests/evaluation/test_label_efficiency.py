"""The quickstart's table: paired draws, a fair scale, quick."""

from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.data.labels import choose_labelled
from tf_simclr.evaluation import label_efficiency as le


def problem(seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(4), 25)
    centres = rng.normal(size=(4, 6))
    values = centres[labels] * 2 + rng.normal(size=(100, 6))
    return values[:60].astype(np.float32), labels[:60], values[60:].astype(np.float32), labels[60:]


def test_rows_and_figures(capsys):
    train, train_labels, test, test_labels = problem()
    noise = np.random.default_rng(1).normal(size=(100, 6))
    representations = {"good": (train, test), "noise": (noise[:60], noise[60:])}
    rows = le.label_efficiency(
        representations, train_labels, test_labels, labels_per_class=[1, 5, None], num_draws=4
    )
    assert [(row.representation, row.labels_per_class, len(row.accuracies)) for row in rows] == [
        ("good", 1, 4),
        ("good", 5, 4),
        ("good", None, 1),
        ("noise", 1, 4),
        ("noise", 5, 4),
        ("noise", None, 1),
    ]
    assert "logistic regression: 100%" in (said := capsys.readouterr().err)  # captured, so no terminal
    assert "18/18" in said
    figures = {(row.representation, row.labels_per_class): row for row in rows}
    assert figures["good", None].mean > 85
    assert figures["good", 5].mean > figures["good", 1].mean
    assert figures["noise", 5].mean < 50
    assert figures["good", None].std == 0
    assert figures["good", 1].std == pytest.approx(np.std(figures["good", 1].accuracies, ddof=1))


def test_draws_are_paired_over_representations(monkeypatch):
    train, train_labels, test, test_labels = problem()
    seen: list[list[int]] = []

    def recorded(labels, **arguments):
        seen.append(choose_labelled(labels, **arguments).tolist())
        return np.array(seen[-1])

    monkeypatch.setattr(le, "choose_labelled", recorded)
    both = {"a": (train, test), "b": (train, test)}
    rows = le.label_efficiency(both, train_labels, test_labels, labels_per_class=[2], num_draws=3)
    assert seen[:3] == seen[3:]
    assert len({tuple(draw) for draw in seen[:3]}) == 3
    np.testing.assert_array_equal(rows[0].accuracies, rows[1].accuracies)


def test_scale_offset_and_shape_of_a_representation_do_not_matter():
    train, train_labels, test, test_labels = problem()
    changed = (train * 1000 + 7).reshape(-1, 2, 3), (test * 1000 + 7).reshape(-1, 2, 3)
    rows = le.label_efficiency(
        {"a": (train, test), "b": changed}, train_labels, test_labels, labels_per_class=[2], num_draws=3
    )
    np.testing.assert_allclose(rows[0].accuracies, rows[1].accuracies)


def test_constant_features_are_allowed():
    _, train_labels, _, test_labels = problem()
    constant = np.ones((60, 3)), np.ones((40, 3))
    (row,) = le.label_efficiency({"c": constant}, train_labels, test_labels, labels_per_class=[None])
    assert row.mean == pytest.approx(25)
