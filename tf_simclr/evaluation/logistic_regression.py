"""Multinomial logistic regression on frozen features, its l2 chosen on validation data (App. B.8).

App. B.8 follows Kornblith et al. (2019), where l2 applies to the sum of the examples' losses:

    sum over n examples of cross-entropy + l2 * ||W||^2, the bias free.

(No factor 1/2, as in the first author's published tool.) scikit-learn minimises C * sum + ||W||^2 / 2, so
C = 1 / (2 * l2) whatever n is. For the mean cross-entropy the same solution has l2 / n. For two classes it
fits one vector w where the objective has W = (-w/2, w/2) with ||W||^2 = ||w||^2 / 2, so C = 1 / l2 there.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tf_simclr.errors import UsageError
from tf_simclr.evaluation.metrics import Metric, score

L2_VALUES = np.logspace(-6, 5, 45)  # App. B.8
TOLERANCE = 1e-5  # largest entry of the gradient of the mean objective
MAX_ITERATIONS = 1000
SMALL = 2**21  # numbers in a feature matrix


class LabelledFeatures(NamedTuple):
    """Features float [n, D] and labels: int [n], or int [n, C] of 0, 1 and -1 (ignored) for multi-label."""

    values: np.ndarray
    labels: np.ndarray


class PathPoint(NamedTuple):
    """One step of the path: `l2`, the validation metric in percent, and whether L-BFGS converged."""

    l2: float
    validation: float
    converged: bool


@dataclasses.dataclass(frozen=True)
class TransferResult:
    """What the protocol of App. B.8 gives.

    Attributes:
      l2: the chosen value.
      path: every value tried, strongest first.
      test: the test metric in percent.
      scores: test scores float64 [n, C]: probabilities, or logits where multi-label.
      converged: L-BFGS converged at every value and when it was retrained.
    """

    l2: float
    path: list[PathPoint]
    test: float
    scores: np.ndarray
    converged: bool


class SoftmaxRegression:
    """l2-regularised softmax regression by L-BFGS; a further `fit` starts from where the last one ended."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._model = LogisticRegression(tol=TOLERANCE, max_iter=MAX_ITERATIONS, warm_start=True)

    def fit(self, data: LabelledFeatures, l2: float) -> bool:
        """Minimises the objective; says whether L-BFGS converged."""
        weight = 1 if len(np.unique(data.labels)) == 2 else 2
        return _fit(self._model, data, 1 / (weight * l2))

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Probabilities float [n, C]; 0 for a class that was not trained."""
        scores = np.zeros((len(values), self._num_classes))
        scores[:, self._model.classes_] = self._model.predict_proba(values)
        return scores


class OneVsRestRegression:
    """One binary regression a class, for multi-label data (VOC 2007); labels of -1 are ignored."""

    def __init__(self, num_classes: int) -> None:
        self._models = [
            LogisticRegression(tol=TOLERANCE, max_iter=MAX_ITERATIONS, warm_start=True)
            for _ in range(num_classes)
        ]

    def fit(self, data: LabelledFeatures, l2: float) -> bool:
        """Minimises each class's objective; says whether L-BFGS converged for all."""
        converged = True
        for model, labels in zip(self._models, data.labels.T, strict=True):
            counted = labels >= 0
            values = data.values if counted.all() else data.values[counted]
            converged &= _fit(model, LabelledFeatures(values, labels[counted]), 1 / (2 * l2))
        return converged

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Logits float [n, C]."""
        return np.stack([model.decision_function(values) for model in self._models], axis=1)


def transfer(
    train: LabelledFeatures,
    validation: LabelledFeatures,
    test: LabelledFeatures,
    *,
    metric: Metric,
    l2_values: Sequence[float] | np.ndarray = L2_VALUES,
    on_progress: Callable[[PathPoint], None] | None = None,
) -> TransferResult:
    """The transfer protocol of App. B.8: l2 chosen on validation, retrained on both, tested once.

    Solutions follow the path from strong to weak l2, each starting from the one before. Of equal validation
    figures the strongest l2 is chosen.

    Args:
      train: trains along the path.
      validation: chooses l2.
      test: used once, after retraining on `train` and `validation`.
      metric: "top1", "mean_per_class", or "voc_map", which means multi-label data.
      l2_values: values to try, in any order.
      on_progress: called after each value.

    Raises:
      UsageError: where a class to be predicted has no training example.
    """
    # Centred and divided by one number, with l2 divided by its square, the problem is the same (the bias is
    # free) and far better conditioned: h after a ReLU is nearly one common vector.
    centre, scale = (
        train.values.mean(axis=0, dtype=np.float64),
        float(train.values.std(dtype=np.float64)) or 1.0,
    )
    train, validation, test = (
        LabelledFeatures((values - centre) / scale, labels) for values, labels in (train, validation, test)
    )
    num_classes = _num_classes(train, validation, test, metric)
    model = (OneVsRestRegression if metric == "voc_map" else SoftmaxRegression)(num_classes)
    path: list[PathPoint] = []
    best_model = model
    for l2 in sorted(map(float, l2_values), reverse=True):
        converged = model.fit(train, l2 / scale**2)
        path.append(
            PathPoint(l2, score(metric, model.scores(validation.values), validation.labels), converged)
        )
        if path[-1].validation > max((point.validation for point in path[:-1]), default=-np.inf):
            best_model = copy.deepcopy(model)
        if on_progress is not None:
            on_progress(path[-1])
    best = max(path, key=lambda point: point.validation)
    both = LabelledFeatures(*(np.concatenate(arrays) for arrays in zip(train, validation, strict=True)))
    converged = best_model.fit(both, best.l2 / scale**2) and all(point.converged for point in path)
    scores = best_model.scores(test.values)
    return TransferResult(best.l2, path, score(metric, scores, test.labels), scores, converged)


def _fit(model: LogisticRegression, data: LabelledFeatures, c: float) -> bool:
    model.set_params(C=c)
    threads = 1 if data.values.size < SMALL else None  # several get in each other's way on little data
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(threads):
        # L-BFGS also gives up early, where its line search fails: the number of iterations does not tell.
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(data.values, data.labels)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _num_classes(
    train: LabelledFeatures, validation: LabelledFeatures, test: LabelledFeatures, metric: Metric
) -> int:
    if metric == "voc_map":
        constant = [c for c, column in enumerate(train.labels.T) if not {0, 1} <= set(column.tolist())]
        if constant:
            raise UsageError(f"--train_split: class {constant[0]} needs examples with and without it")
        return train.labels.shape[1]
    missing = np.setdiff1d(np.concatenate([validation.labels, test.labels]), train.labels)
    if len(missing):
        raise UsageError(f"--train_split: class {missing[0]} has no training example")
    if len(np.unique(train.labels)) < 2:
        raise UsageError("--train_split: a classifier needs examples of at least 2 classes")
    return int(train.labels.max()) + 1
