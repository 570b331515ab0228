"""Is one run better than another, or luck? Paired tests on the same test images (App. B.8)."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from typing import Literal

import numpy as np
import scipy.stats
from etils import epath

from tf_simclr.errors import UsageError

NUM_SAMPLES = 100_000  # App. B.8


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs' predictions of the same examples.

    Attributes:
      num_examples: n.
      accuracy_a: percent, by the metric asked for.
      accuracy_b: percent.
      only_a_right: examples that run a alone has right.
      only_b_right: examples that run b alone has right.
      p_permutation: two-sided p-value of the paired permutation test.
      p_mcnemar: two-sided p-value of McNemar's exact test; None but for single-label top-1.
    """

    num_examples: int
    accuracy_a: float
    accuracy_b: float
    only_a_right: int
    only_b_right: int
    p_permutation: float
    p_mcnemar: float | None


def permutation_test(differences: np.ndarray, num_samples: int = NUM_SAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of a sum of paired differences, each of which could as well have the other sign.

    The signs of equal differences are drawn together, as one binomial number, which has the same
    distribution and costs nothing. The observed signs count as one more sample, so p is never 0.

    Args:
      differences: float [n], run a's correctness minus run b's, weighted as the metric has it.
      num_samples: random sign assignments.
      seed: of the draws.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    rng = np.random.default_rng(seed)
    sums = np.zeros(num_samples)
    for size, count in zip(sizes, counts, strict=True):
        sums += size * (2 * rng.binomial(count, 0.5, size=num_samples) - count)
    observed = abs(differences.sum())
    as_extreme = np.sum(np.abs(sums) >= observed - 1e-9 * max(1.0, observed))
    return float((as_extreme + 1) / (num_samples + 1))


def mcnemar_exact(only_a_right: int, only_b_right: int) -> float:
    """Two-sided p-value of McNemar's exact test: a fair coin for each example that only one run has right."""
    discordant = only_a_right + only_b_right
    return float(scipy.stats.binomtest(only_a_right, discordant).pvalue) if discordant else 1.0


def compare_predictions(
    path_a: str | os.PathLike[str],
    path_b: str | os.PathLike[str],
    metric: Literal["top1", "mean_per_class"] = "top1",
    seed: int = 0,
) -> Comparison:
    """Compares two `predictions.npz` of the same examples, which may be in different orders.

    Args:
      path_a: holds `id` [n], `label` [n] and `prediction` [n]; for multi-label data label and prediction
        are [n, C] and an example's correctness is the share of its classes that are right (accuracy, not
        mAP: App. B.8). Labels of -1 ("difficult") do not count, nor does an example that has no others.
      path_b: the same of the other run.
      metric: "top1" weighs all examples alike, "mean_per_class" all classes.
      seed: of the permutation test.

    Raises:
      UsageError: where a file is unreadable, or the two are not about the same examples.
    """
    (ids_a, labels, right_a), (ids_b, labels_b, right_b) = _read(path_a), _read(path_b)
    if not np.array_equal(ids_a, ids_b) or not np.array_equal(labels, labels_b):
        raise UsageError(f"--compare_with: {path_b} was not evaluated on the same examples as {path_a}")
    weights = np.full(len(labels), 1 / len(labels))
    if metric == "mean_per_class":
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = 1 / (len(counts) * counts[classes])
    only_a, only_b = int(np.sum(right_a > right_b)), int(np.sum(right_b > right_a))
    return Comparison(
        num_examples=len(labels),
        accuracy_a=float(100 * np.sum(weights * right_a)),
        accuracy_b=float(100 * np.sum(weights * right_b)),
        only_a_right=only_a,
        only_b_right=only_b,
        p_permutation=permutation_test(weights * (right_a - right_b), seed=seed),
        p_mcnemar=mcnemar_exact(only_a, only_b) if metric == "top1" and labels.ndim == 1 else None,
    )


def _read(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids [n], labels and correctness float [n], sorted by id."""
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            ids, labels, predictions = stored["id"], stored["label"], stored["prediction"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"--compare_with: {path} is not a readable predictions.npz; evaluate that run again"
        ) from error
    counted = np.sum((labels >= 0).reshape(len(labels), -1), axis=1)
    right = np.sum((predictions == labels).reshape(len(labels), -1), axis=1)  # none is predicted to be -1
    order = np.argsort(ids, kind="stable")
    order = order[counted[order] > 0]
    return ids[order], labels[order], right[order] / counted[order]
