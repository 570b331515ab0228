"""Representations laid out in the plane."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from tf_simclr.errors import UsageError

PERPLEXITY, NEIGHBOURS = 30.0, 15  # the libraries' defaults, as far as there are so many images
WIDTH = 50  # of what t-SNE is given: PCA first, as its authors advise


def require(kind: str) -> None:
    """UsageError where --map=umap is asked for and not installed."""
    if kind == "umap" and importlib.util.find_spec("umap") is None:
        raise UsageError(
            "--map=umap needs the package umap-learn: pip install -r requirements-search.txt, or take tsne"
        )


def positions(values: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Positions float32 [n, 2] in [0, 1], the longer side filled.

    Args:
      values: float32 [n, D], n >= 2.
      kind: `tsne` or `umap`.
      seed: of the layout.
    """
    points = (_tsne if kind == "tsne" else _umap)(values, seed)
    points = points - points.min(axis=0)
    return (points / max(float(points.max()), 1e-12)).astype(np.float32)


def _tsne(values: np.ndarray, seed: int) -> np.ndarray:
    count, width = values.shape
    if min(count, width) > WIDTH:
        values = PCA(WIDTH, random_state=seed).fit_transform(values)
    perplexity = min(PERPLEXITY, max(1.0, (count - 1) / 3))
    start = "pca" if min(count, width) > 2 else "random"
    with threadpool_limits(1):  # several threads are slower at this size
        return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(values)


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    import umap

    count = len(values)
    if count == 2:
        return np.eye(2)  # the library lays out three or more
    start = "spectral" if count > NEIGHBOURS else "random"
    layout = umap.UMAP(
        n_neighbors=max(2, min(NEIGHBOURS, count - 1)),
        metric="cosine",
        init=start,
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, of few images
        return layout.fit_transform(values)
