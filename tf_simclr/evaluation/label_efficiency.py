"""How far a few labels go: logistic regression on several representations of the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tf_simclr.data.labels import choose_labelled
from tf_simclr.evaluation.logistic_regression import LabelledFeatures, SoftmaxRegression
from tf_simclr.progress import progress_bar

# Features have mean squared norm 1 here. On the digits' pixels any l2 from 0.005 to 0.5 is within 1.4
# points of the best at 1, 2, 5 labels a class and all.
L2 = 0.05


@dataclasses.dataclass(frozen=True)
class LabelEfficiency:
    """Accuracy of one representation with one number of labels.

    Attributes:
      representation: its name.
      labels_per_class: None means all labels.
      accuracies: top-1 in percent, one a draw of the labels (one in all with all labels).
    """

    representation: str
    labels_per_class: int | None
    accuracies: np.ndarray

    @property
    def mean(self) -> float:
        """Mean top-1 over the draws, percent."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation of top-1 over the draws, percentage points; 0 with one draw."""
        return float(self.accuracies.std(ddof=1)) if len(self.accuracies) > 1 else 0.0


def label_efficiency(
    representations: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    *,
    labels_per_class: Sequence[int | None] = (1, 2, 5, None),
    num_draws: int = 20,
) -> list[LabelEfficiency]:
    """Compares representations, all on the same draws of the labels (draw i has seed i).

    Args:
      representations: name -> (train features [n, ...], test features [m, ...]), flattened here; pixels
        are a representation too.
      train_labels: int64 [n].
      test_labels: int64 [m].
      labels_per_class: numbers of labels; None is all of them.
      num_draws: draws of the labels for each number.

    Returns:
      A row for each representation and each number of labels, in the order given.
    """
    draws = [(number, range(1 if number is None else num_draws)) for number in labels_per_class]
    total = len(representations) * sum(len(seeds) for _, seeds in draws)
    rows = []
    with progress_bar(total=total, desc="logistic regression", unit=" draws") as bar:
        for name, features in representations.items():
            train, test = _scale(*features)
            for per_class, seeds in draws:
                accuracies = []
                for seed in seeds:
                    chosen = _chosen(train_labels, per_class, seed)
                    few = LabelledFeatures(train[chosen], train_labels[chosen])
                    accuracies.append(_accuracy(few, LabelledFeatures(test, test_labels)))
                    bar.update()
                rows.append(LabelEfficiency(name, per_class, np.array(accuracies)))
    return rows


def _chosen(labels: np.ndarray, per_class: int | None, seed: int) -> slice | np.ndarray:
    if per_class is None:
        return slice(None)
    return choose_labelled(labels, per_class=per_class, seed=seed)


def linear_accuracy(train: LabelledFeatures, test: LabelledFeatures) -> float:
    """Top-1 in percent of a logistic regression on features [n, D], scaled and regularised as above."""
    train_values, test_values = _scale(train.values, test.values)
    return _accuracy(LabelledFeatures(train_values, train.labels), LabelledFeatures(test_values, test.labels))


def _scale(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres by the training images and scales by one number, so that l2 weighs all representations alike.

    Needs no labels and, unlike scaling feature by feature, does not blow up nearly constant pixels.
    """
    train, test = (values.reshape(len(values), -1).astype(np.float64) for values in (train, test))
    mean = train.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum((train - mean) ** 2, axis=1))) or 1.0
    return (train - mean) / scale, (test - mean) / scale


def _accuracy(train: LabelledFeatures, test: LabelledFeatures) -> float:
    model = SoftmaxRegression(int(max(train.labels.max(), test.labels.max())) + 1)
    model.fit(train, L2)
    return float(100 * np.mean(model.scores(test.values).argmax(axis=1) == test.labels))
