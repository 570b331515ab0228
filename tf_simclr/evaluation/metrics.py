"""Accuracy in the three ways that the paper's transfer data sets ask for (App. B.8)."""

from __future__ import annotations

from typing import Literal

import numpy as np

Metric = Literal["top1", "mean_per_class", "voc_map"]


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float | None:
    """Percent of examples whose label is among the k highest scores; of equal scores the lower class wins.

    Args:
      scores: float [n, C].
      labels: int [n].
      k: at least 1. With no more than k classes the figure says nothing: None.
    """
    if k > 1 and scores.shape[1] <= k:
        return None
    own = scores[np.arange(len(labels)), labels][:, None]  # [n, 1]
    lower_class = np.arange(scores.shape[1]) < labels[:, None]  # [n, C]
    rank = np.sum((scores > own) | ((scores == own) & lower_class), axis=1)
    return float(100 * np.mean(rank < k))


def per_class_accuracy(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Percent right in each class, float [C]; NaN for a class without examples.

    Args:
      predictions: int [n], the predicted classes.
      labels: int [n] in [0, C).
      num_classes: C.
    """
    counts = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[predictions == labels], minlength=num_classes)
    return 100 * right / np.where(counts > 0, counts, np.nan)


def mean_per_class_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Mean of `per_class_accuracy` over the classes that have examples, percent."""
    return float(np.nanmean(per_class_accuracy(predictions, labels, int(labels.max()) + 1)))


def voc_average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The 11-point interpolated average precision of VOC 2007, percent.

    The mean, over recalls 0, 0.1, ..., 1, of the best precision at that recall or a higher one
    (Everingham et al., 2010, Sec. 4.2). Equal scores keep the order of the data.

    Args:
      scores: float [n].
      relevant: bool [n]; NaN comes back when none is relevant.
    """
    relevant = relevant[np.argsort(-scores, kind="stable")]
    if not relevant.any():
        return float("nan")
    true_positives = np.cumsum(relevant)
    precision = true_positives / np.arange(1, len(relevant) + 1)
    recall_tenths = 10 * true_positives / true_positives[-1]
    return float(100 * np.mean([precision[recall_tenths >= tenth].max() for tenth in range(11)]))


def voc_map(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the 11-point average precision, percent.

    Args:
      scores: float [n, C].
      labels: int [n, C]: 1 present, 0 absent, -1 "difficult", which does not count for that class, as in
        VOC's own evaluation. A class that never occurs is left out of the mean.
    """
    precisions = []
    for class_scores, class_labels in zip(scores.T, labels.T, strict=True):
        counted = class_labels >= 0
        precisions.append(voc_average_precision(class_scores[counted], class_labels[counted] == 1))
    return float(np.nanmean(precisions))


def score(metric: Metric, scores: np.ndarray, labels: np.ndarray) -> float:
    """The figure, in percent, that `metric` gives scores [n, C] for labels [n] (voc_map: [n, C])."""
    if metric == "voc_map":
        return voc_map(scores, labels)
    predictions = scores.argmax(axis=1)
    if metric == "mean_per_class":
        return mean_per_class_accuracy(predictions, labels)
    return float(100 * np.mean(predictions == labels))
