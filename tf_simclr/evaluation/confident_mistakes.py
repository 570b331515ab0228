"""Which images a classifier is surest of and wrong about."""

from __future__ import annotations

import numpy as np

MOST = 20


def most_confident_mistakes(
    labels: np.ndarray, predictions: np.ndarray, probability: np.ndarray, most: int = MOST
) -> np.ndarray:
    """Positions of at most `most` wrong predictions, int64 [m], the most probable first; of equals the first.

    Args:
      labels: int [n]; of -1 nothing is known.
      predictions: int [n].
      probability: float [n], that of the predicted class.
    """
    wrong = np.flatnonzero((labels >= 0) & (predictions != labels))
    return wrong[np.argsort(-probability[wrong], kind="stable")[:most]]
