"""k-NN against scikit-learn's, whatever the chunks, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from tf_simclr.errors import UsageError
from tf_simclr.evaluation import nearest_neighbours as nn


def problem(seed: int = 0, bank: int = 300, queries: int = 50, classes: int = 7, dim: int = 8):
    rng = np.random.default_rng(seed)
    draw = lambda n: (rng.normal(size=(n, dim)).astype(np.float32), rng.integers(0, classes, n))  # noqa: E731
    return draw(bank), draw(queries)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("k", [1, 20, 200])
def test_agrees_with_scikit_learn(k, weighted):
    (bank, labels), (queries, query_labels) = problem()
    weights = (lambda distance: np.exp((1 - distance) / 0.07)) if weighted else "uniform"
    reference = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights).fit(bank, labels)
    found = nn.nearest_neighbours(queries, [(bank, labels)], k)
    distances, indices = reference.kneighbors(queries)
    np.testing.assert_array_equal(np.sort(found.indices), np.sort(indices))  # near-equals may change places
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-5)
    votes = nn.class_votes(found, k, 7, weighted)
    np.testing.assert_allclose(
        votes / votes.sum(1, keepdims=True), reference.predict_proba(queries), rtol=1e-3, atol=1e-6
    )
    result = {r.weighted: r for r in nn.classify(found, query_labels, 7, [k])}[weighted]
    np.testing.assert_array_equal(result.predictions, reference.predict(queries))
    assert result.top1 == pytest.approx(100 * reference.score(queries, query_labels))


@settings(deadline=None, max_examples=20)
@given(
    cuts=st.lists(st.integers(0, 120), max_size=6),
    bank_chunk=st.integers(1, 130),
    query_chunk=st.integers(1, 40),
    k=st.integers(1, 150),
)
def test_chunks_do_not_matter_and_the_earlier_of_equals_wins(cuts, bank_chunk, query_chunk, k):
    rng = np.random.default_rng(0)
    # Unit vectors along axes: similarities are exact and full of ties.
    bank, queries = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 120)], np.eye(4, dtype=np.float32)
    labels = rng.integers(0, 3, 120)
    expected = np.argsort(-(queries @ bank.T), axis=1, kind="stable")[:, :k]
    edges = [0, *sorted(cuts), 120]
    parts = [(bank[a:b], labels[a:b]) for a, b in itertools.pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, "BANK_CHUNK", bank_chunk)
        patch.setattr(nn, "QUERY_CHUNK", query_chunk)
        found = nn.nearest_neighbours(queries, iter(parts), k)
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.labels, labels[expected])


def test_results_are_ordered_and_k_is_cut_to_the_bank():
    (bank, labels), (queries, query_labels) = problem(bank=30)
    found = nn.nearest_neighbours(queries, [(bank, labels)], 200)
    results = nn.classify(found, query_labels, 7)
    assert [(r.k, r.weighted) for r in results] == [(20, True), (20, False), (30, True), (30, False)]
    assert all(r.top5 is not None and r.top5 >= r.top1 for r in results)


def test_scale_of_features_does_not_matter_and_zero_is_allowed():
    (bank, labels), (queries, _) = problem()
    queries[0] = 0
    first = nn.nearest_neighbours(queries, [(bank, labels)], 5)
    second = nn.nearest_neighbours(queries * 1e3, [(bank * 1e-3, labels)], 5)
    np.testing.assert_array_equal(first.indices[1:], second.indices[1:])
    assert np.isfinite(first.similarities).all()


def test_weighted_votes_fit_in_float32():
    twins = np.ones((200, 2), np.float32)
    found = nn.nearest_neighbours(twins[:1], [(twins, np.zeros(200, int))], 200)
    votes = nn.class_votes(found, 200, 2, weighted=True)
    assert votes[0, 0] == pytest.approx(200 * np.exp(1 / 0.07), rel=1e-3)


def test_cosines_are_not_rounded_by_tensor_cores(monkeypatch):
    (bank, labels), (queries, _) = problem()
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    seen = []
    matmul = tf.linalg.matmul
    monkeypatch.setattr(tf.linalg, "matmul", lambda *a, **k: (seen.append(enabled()), matmul(*a, **k))[1])
    nn.nearest_neighbours(queries, [(bank, labels)], 3)
    assert seen == [False]
    assert enabled()


def test_empty_bank_is_refused():
    with pytest.raises(UsageError, match="empty"):
        nn.nearest_neighbours(np.ones((1, 2), np.float32), [], 1)


def test_memory_does_not_grow_with_the_bank(monkeypatch):
    monkeypatch.setattr(nn, "BANK_CHUNK", 256)
    queries = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)

    def bank(parts):
        rng = np.random.default_rng(1)
        for _ in range(parts):
            yield rng.normal(size=(100, 256)).astype(np.float32), np.zeros(100, np.int64)

    def peak(parts):
        tracemalloc.start()
        nn.nearest_neighbours(queries, bank(parts), 20)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(4)  # first call: imports and tracing
    assert peak(80) < peak(8) + 300_000  # 8,000 features are 8 MB; their labels 64 kB
