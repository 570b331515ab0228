"""Near-duplicates: groups of images that are joined by pairs above a cosine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

CHUNK = 1024  # rows and columns of the cosines that are held at once
ROUNDING = 1e-6  # of a float32 cosine: images that are equal may have one just below 1

Pairs = tuple[np.ndarray, np.ndarray]


def groups_above(bank: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Groups of two or more images, joined by pairs whose cosine is at least `threshold`: all pairs.

    Two images of a group may lie below it where others stand between them.

    Args:
      bank: float32 [n, D], of length 1 or 0.
      threshold: in (-1, 1].

    Returns:
      Indices of each group, sorted, int64; groups in the order of their first image.
    """
    return _groups(len(bank), _all_pairs(bank, threshold - ROUNDING))


def groups_of_neighbours(similarities: np.ndarray, indices: np.ndarray, threshold: float) -> list[np.ndarray]:
    """As `groups_above`, of the pairs among each image's nearest neighbours alone.

    Args:
      similarities: cosines [n, k].
      indices: int64 [n, k], none an image's own.
      threshold: in (-1, 1].
    """
    rows, columns = np.nonzero(similarities >= threshold - ROUNDING)
    return _groups(len(indices), iter([(rows, indices[rows, columns])]))


def _all_pairs(bank: np.ndarray, least: float) -> Iterator[Pairs]:
    """The pairs i < j whose cosine is at least `least`, a block of the matrix at a time."""
    for top in range(0, len(bank), CHUNK):
        for left in range(top, len(bank), CHUNK):
            close = bank[top : top + CHUNK] @ bank[left : left + CHUNK].T >= least
            if left == top:
                close = np.triu(close, 1)
            rows, columns = np.nonzero(close)
            if rows.size:
                yield rows + top, columns + left


def _groups(count: int, pairs: Iterator[Pairs]) -> list[np.ndarray]:
    """Connected components of two or more; no more pairs are held than one block gives."""
    component = np.arange(count)
    for one, other in pairs:
        joined = np.ones(len(one), bool), (component[one], component[other])
        graph = sparse.coo_matrix(joined, shape=(count, count))
        component = sparse.csgraph.connected_components(graph, directed=False)[1][component]
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: part[0])
