"""The perceptron that names transformations."""

from __future__ import annotations

import numpy as np

from tf_simclr.evaluation.label_efficiency import linear_accuracy
from tf_simclr.evaluation.logistic_regression import LabelledFeatures
from tf_simclr.evaluation.mlp import MLP


def signs(count: int, seed: int) -> LabelledFeatures:
    """Whether two numbers have the same sign, beside a large one and one that says nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=[count, 4]).astype(np.float32) * [1.0, 1e-3, 1.0, 0.0] + [0, 0, 1000.0, 5.0]
    return LabelledFeatures(values.astype(np.float32), (values[:, 0] * values[:, 1] > 0).astype(np.int64))


def test_it_learns_what_no_line_separates_at_any_scale() -> None:
    train, test = signs(2000, 0), signs(500, 1)
    assert linear_accuracy(train, test) < 60
    found = [MLP(hidden_dim=64, steps=300, seed=seed).accuracy(train, test, 2) for seed in (3, 3)]
    assert min(found) > 90
    assert found[0] == found[1]
    assert abs(MLP(steps=9).accuracy(train._replace(values=0 * train.values), test, 2) - 50) < 10
