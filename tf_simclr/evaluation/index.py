"""Nearest neighbours in a bank held in memory: exact, or by an index that looks at a part of it."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from tf_simclr.errors import UsageError
from tf_simclr.evaluation.nearest_neighbours import Neighbours, nearest_neighbours

LARGE_BANK = 100_000  # images from which on `auto` takes an index
LISTS_A_ROOT = 4  # inverted lists: this many times the root of the bank, as the library's authors advise
FEWEST_PROBED = 16  # lists that are looked into for a query, doubled until enough is found
ENOUGH = 0.99  # share of the true neighbours
MOST_TUNED = 256  # queries that this share is measured on
SEEN_A_LIST = 64  # vectors that a list's centre is learned from
MOST_CHECKED = 1000  # queries that recall is measured on


def choose(asked: str, num_images: int) -> str:
    """`exact` or `faiss`, as --index says; `auto` takes faiss from 100,000 images on where it is installed.

    Raises:
      UsageError: faiss is asked for and not installed.
    """
    installed = importlib.util.find_spec("faiss") is not None
    if asked == "faiss" and not installed:
        raise UsageError(
            "--index=faiss needs the package faiss-cpu: pip install -r requirements-search.txt, or take exact"
        )
    if asked != "auto":
        return asked
    if num_images < LARGE_BANK:
        return "exact"
    if not installed:
        print(
            f"  {num_images:,} images are searched one by one; an index, which is faster, comes with "
            "pip install -r requirements-search.txt"
        )
    return "faiss" if installed else "exact"


def search(queries: np.ndarray, bank: np.ndarray, k: int, kind: str, seed: int = 0) -> Neighbours:
    """The k nearest of the bank for each query, by cosine, nearest first; all labels are 0.

    Args:
      queries: float32 [m, D], of length 1 or 0.
      bank: float32 [n, D], likewise, n >= k.
      k: neighbours a query.
      kind: `exact` or `faiss`.
      seed: of what the index is learned from.
    """
    if kind == "exact":
        return nearest_neighbours(queries, [(bank, np.zeros(len(bank), np.int64))], k)
    lists = _inverted_lists(bank, seed)
    _look_into_enough(lists, queries, bank, k, seed)
    similarities, indices = lists.search(queries, k)
    lacking = np.flatnonzero((indices < 0).any(axis=1))  # the lists looked into held fewer than k
    if lacking.size:
        exact = search(queries[lacking], bank, k, "exact")
        similarities[lacking], indices[lacking] = exact.similarities, exact.indices
    return Neighbours(similarities, indices, np.zeros_like(indices))


def search_itself(bank: np.ndarray, k: int, kind: str, seed: int = 0) -> Neighbours:
    """As `search` for each image of the bank, itself left out, k < n."""
    found = search(bank, bank, k + 1, kind, seed)
    others, kept = _others(found.indices, np.arange(len(bank))), (len(bank), k)
    return Neighbours(
        found.similarities[others].reshape(kept), found.indices[others].reshape(kept), found.labels[:, :k]
    )


def recall(found: Neighbours, queries: np.ndarray, bank: np.ndarray, itself: bool, seed: int = 0) -> float:
    """Share of the true nearest neighbours that were found, over at most 1,000 queries.

    Args:
      found: of all queries, by an index.
      queries, bank: as `search` got them.
      itself: whether the queries are the bank's own images, each left out of its own neighbours.
      seed: of the choice of queries.
    """
    chosen = _sample(len(queries), MOST_CHECKED, seed)
    k = found.indices.shape[1]
    true = search(queries[chosen], bank, k + itself, "exact").indices
    if itself:
        true = true[_others(true, chosen)].reshape(-1, k)
    return _shared(found.indices[chosen], true)


def first(found: Neighbours, k: int) -> Neighbours:
    """The k nearest of each query's neighbours."""
    return Neighbours(found.similarities[:, :k], found.indices[:, :k], found.labels[:, :k])


def _sample(count: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _shared(found: np.ndarray, true: np.ndarray) -> float:
    """The share of `true` [q, k] that is in the same row of `found`."""
    return sum(len(np.intersect1d(*rows)) for rows in zip(found, true, strict=True)) / true.size


def _others(indices: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which k of each row of `indices` [q, k + 1] are not the row's `own` [q], bool [q, k + 1]."""
    others = indices != own[:, None]
    others[others.all(axis=1), -1] = False  # of more than k equal images it may not be among them
    return others


def _inverted_lists(bank: np.ndarray, seed: int) -> Any:
    """IVF with whole vectors: k-means of the bank, and for each centre a list of what is nearest to it."""
    import faiss

    count, width = bank.shape
    lists = max(1, min(int(LISTS_A_ROOT * count**0.5), count // SEEN_A_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.spherical = seed, True
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, SEEN_A_LIST
    index.train(bank)
    index.add(bank)
    return index


def _look_into_enough(lists: Any, queries: np.ndarray, bank: np.ndarray, k: int, seed: int) -> None:
    """Sets how many lists a query looks into: so many that sample queries find 99 % of what is nearest."""
    chosen = queries[_sample(len(queries), MOST_TUNED, seed)]
    true = search(chosen, bank, k, "exact").indices
    lists.nprobe = min(FEWEST_PROBED, lists.nlist)
    while lists.nprobe < lists.nlist and _shared(lists.search(chosen, k)[1], true) < ENOUGH:
        lists.nprobe = min(2 * lists.nprobe, lists.nlist)
