"""How well scores tell images of unknown classes from those of known ones; the higher, the less is known."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_curve


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Percent of pairs of a known and an unknown image where the unknown one scores higher; ties are half.

    Args:
      known: scores [n].
      unknown: scores [m]; infinite ones are ranked as any.
    """
    ranks = rankdata(np.concatenate([known, unknown]))[len(known) :]
    higher = ranks.sum() - len(unknown) * (len(unknown) + 1) / 2
    return float(100 * higher / (len(known) * len(unknown)))


def threshold(known: np.ndarray, unknown: np.ndarray) -> float:
    """The score from which on to call an image unknown, for the best mean of both accuracies on these."""
    labels = np.repeat([0, 1], [len(known), len(unknown)])
    false, true, scores = roc_curve(labels, np.concatenate([known, unknown]))
    return float(scores[np.argmax(true - false)])


def accuracies(known: np.ndarray, unknown: np.ndarray, right: np.ndarray, from_on: float) -> dict[str, float]:
    """Percent right where a score of `from_on` or more means unknown.

    Args:
      known, unknown: scores [n] and [m].
      right: bool [n], whether a known image's class is the predicted one.
      from_on: the threshold.

    Returns:
      `known_accuracy`, `unknown_accuracy`: images of either called so; `balanced_accuracy`: the mean of
      both; `open_set_accuracy`: of all images, the known ones with their class, too.
    """
    kept, found = known < from_on, unknown >= from_on
    shares = {"known_accuracy": np.mean(kept), "unknown_accuracy": np.mean(found)}
    shares["balanced_accuracy"] = (shares["known_accuracy"] + shares["unknown_accuracy"]) / 2
    shares["open_set_accuracy"] = ((kept & right).sum() + found.sum()) / (len(known) + len(unknown))
    return {name: float(100 * share) for name, share in shares.items()}
