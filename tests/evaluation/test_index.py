"""Neighbours by an index against scikit-learn's, an image never its own; recall is measured, not promised."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from tf_simclr.errors import UsageError
from tf_simclr.evaluation import index
from tf_simclr.evaluation.nearest_neighbours import Neighbours


def bank_of(count: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=[count, 8]).astype(np.float32))


@pytest.fixture(params=["exact", "faiss"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "faiss":
        pytest.importorskip("faiss", reason="requirements-search.txt")
    return request.param


def test_agrees_with_scikit_learn(kind: str) -> None:
    """A bank of 300 has 4 lists, fewer than are looked into: nothing is left out."""
    bank, queries = bank_of(300), bank_of(20, seed=1)
    reference = NearestNeighbors(metric="cosine", algorithm="brute").fit(bank)
    for found, asked in [
        (index.search(queries, bank, 5, kind), queries),
        (index.search_itself(bank, 5, kind), None),
    ]:
        distances, indices = reference.kneighbors(asked, 5)
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-5)


def test_of_more_equal_images_than_neighbours_none_is_its_own(kind: str) -> None:
    bank = np.repeat(bank_of(2), 6, axis=0)
    found = index.search_itself(bank, 3, kind)
    assert found.indices.shape == (12, 3)
    assert not (found.indices == np.arange(12)[:, None]).any()
    np.testing.assert_allclose(found.similarities, 1, atol=1e-6)


def test_lists_that_hold_too_few_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="requirements-search.txt")
    monkeypatch.setattr(index, "FEWEST_PROBED", 1)
    monkeypatch.setattr(index, "ENOUGH", 0.0)
    bank = bank_of(1000)
    found = index.search(bank, bank, 500, "faiss")
    np.testing.assert_array_equal(found.indices, index.search(bank, bank, 500, "exact").indices)


def test_as_many_lists_are_looked_into_as_find_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="requirements-search.txt")
    monkeypatch.setattr(index, "FEWEST_PROBED", 1)
    bank = bank_of(2000)
    shares = []
    for enough in (0.0, 0.7, 0.99):
        monkeypatch.setattr(index, "ENOUGH", enough)
        found = index.search_itself(bank, 10, "faiss")
        shares.append(index.recall(found, bank, bank, itself=True))
    assert 0.1 < shares[0] < 0.65 < shares[1] < 0.98 < shares[2]


@pytest.mark.parametrize("itself", [True, False])
def test_recall_is_the_share_that_was_found(itself: bool) -> None:
    bank = bank_of(50)
    true = index.search_itself(bank, 4, "exact") if itself else index.search(bank, bank, 4, "exact")
    assert index.recall(true, bank, bank, itself) == 1
    wrong = true.indices.copy()
    wrong[:, 3] = -1
    found = Neighbours(true.similarities, wrong, true.labels)
    assert index.recall(found, bank, bank, itself) == pytest.approx(0.75)


def test_auto_takes_the_index_for_large_banks(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    assert index.choose("auto", index.LARGE_BANK - 1) == "exact"
    assert index.choose("auto", index.LARGE_BANK) == "faiss"
    assert index.choose("exact", index.LARGE_BANK) == "exact"
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert index.choose("auto", index.LARGE_BANK) == "exact"
    assert "requirements-search.txt" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"--index=faiss needs .*requirements-search\.txt"):
        index.choose("faiss", 10)
