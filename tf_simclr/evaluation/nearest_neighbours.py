"""k-nearest-neighbour classification by cosine similarity (Wu et al., 2018, Sec. 3.4)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.evaluation.metrics import top_k_accuracy

VOTE_TEMPERATURE = 0.07  # Wu et al. (2018): a neighbour's vote is exp(similarity / 0.07)
QUERY_CHUNK = 1024
BANK_CHUNK = 8192


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The nearest of the bank for each of m queries, nearest first, each array [m, k].

    Attributes:
      similarities: cosine, float32.
      indices: position in the bank, int64.
      labels: label of that bank example, int64.
    """

    similarities: np.ndarray
    indices: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class KnnResult:
    """One way of voting: `k` as used, predictions int64 [m], accuracies in percent."""

    k: int
    weighted: bool
    predictions: np.ndarray
    top1: float
    top5: float | None

    @property
    def name(self) -> str:
        """`k200_weighted` or `k200_plain`."""
        return f"k{self.k}_{'weighted' if self.weighted else 'plain'}"


def nearest_neighbours(queries: np.ndarray, bank: Iterable[Sequence[np.ndarray]], k: int) -> Neighbours:
    """Finds the k most similar examples of the bank; of equal similarities the earlier one wins.

    Args:
      queries: float [m, D], in memory.
      bank: parts (values [b, D], labels [b], ...) of any sizes, such as `encode_batches` gives, read once
        and held one chunk at a time; or `[(values, labels)]` of arrays or memory maps.
      k: neighbours a query; a smaller bank gives all it has.

    Raises:
      UsageError: where the bank is empty.
    """
    queries = _normalise(queries)
    best = np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
    labels: list[np.ndarray] = []
    size = 0
    for chunk, chunk_labels in _chunks(bank):
        best = _merge(best, queries, _normalise(chunk), size, k)
        labels.append(chunk_labels)
        size += len(chunk)
    if not size:
        raise UsageError("--train_split: the split is empty; k nearest neighbours needs labelled images")
    similarities, indices = best
    return Neighbours(similarities, indices, np.concatenate(labels)[indices])


def class_votes(neighbours: Neighbours, k: int, num_classes: int, weighted: bool) -> np.ndarray:
    """The votes that the k nearest neighbours of each query give each class, float32 [m, C]."""
    labels = neighbours.labels[:, :k]
    weights = np.exp(neighbours.similarities[:, :k] / VOTE_TEMPERATURE) if weighted else np.ones(labels.shape)
    votes = np.zeros((len(labels), num_classes), np.float32)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return votes


def classify(
    neighbours: Neighbours, query_labels: np.ndarray, num_classes: int, ks: Sequence[int] = (20, 200)
) -> list[KnnResult]:
    """Accuracy by weighted and by plain votes for each k, in that order.

    A k larger than the bank is cut to it, and the result says the k that was used. Of classes with equal
    votes the lowest is predicted.

    Args:
      neighbours: of m queries, at least max(ks) each where the bank has as many.
      query_labels: int64 [m].
      num_classes: C.
      ks: numbers of neighbours.
    """
    results = []
    for k in ks:
        used = min(k, neighbours.labels.shape[1])
        for weighted in (True, False):
            votes = class_votes(neighbours, used, num_classes, weighted)
            top1 = top_k_accuracy(votes, query_labels, 1)
            top5 = top_k_accuracy(votes, query_labels, 5)
            results.append(KnnResult(used, weighted, votes.argmax(axis=1), top1 or 0.0, top5))
    return results


def _normalise(values: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(norms, 1e-12), np.float32)


def _chunks(bank: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts and joins the parts of a bank into chunks of BANK_CHUNK examples, the last one smaller."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for values, labels, *_ in bank:
        start = 0
        while start < len(values):
            stop = start + BANK_CHUNK - count
            waiting.append((np.asarray(values[start:stop]), np.asarray(labels[start:stop], np.int64)))
            count += len(waiting[-1][1])
            start = stop
            if count == BANK_CHUNK:
                yield _join(waiting)
                waiting, count = [], 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    values, labels = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(labels)


def _merge(
    best: tuple[np.ndarray, np.ndarray], queries: np.ndarray, chunk: np.ndarray, start: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of those found so far [m, <= k] and of a chunk whose first bank index is `start`."""
    similarities, indices = best
    merged_similarities, merged_indices = [], []
    for first in range(0, len(queries), QUERY_CHUNK):
        rows = slice(first, first + QUERY_CHUNK)
        with _full_float32():
            found = tf.linalg.matmul(queries[rows], chunk, transpose_b=True).numpy()  # [q, b]
        # Earlier examples stand first, and top_k lets the first of equals win.
        candidates = np.concatenate([similarities[rows], found], axis=1)
        top = tf.math.top_k(candidates, min(k, candidates.shape[1]))
        own = np.broadcast_to(np.arange(start, start + len(chunk)), found.shape)
        candidate_indices = np.concatenate([indices[rows], own], axis=1)
        merged_similarities.append(top.values.numpy())
        merged_indices.append(np.take_along_axis(candidate_indices, top.indices.numpy(), axis=1))
    return np.concatenate(merged_similarities), np.concatenate(merged_indices)


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Without TF32, which keeps 10 bits of each factor: neighbours would change places with the GPU."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
