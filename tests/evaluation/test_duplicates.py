"""Near-duplicates are the connected components of all pairs above the cosine, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from tf_simclr.evaluation import duplicates


def components(bank: np.ndarray, threshold: float) -> list[list[int]]:
    """A plain search along all pairs."""
    close = bank @ bank.T >= threshold
    left, found = set(range(len(bank))), []
    for first in range(len(bank)):
        group, waiting = set(), [first] if first in left else []
        while waiting:
            image = waiting.pop()
            group.add(image)
            left.discard(image)
            waiting += [other for other in np.flatnonzero(close[image]) if other in left]
        if len(group) > 1:
            found.append(sorted(group))
    return found


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_groups_are_components_whatever_the_chunks(
    chunk: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "CHUNK", chunk)
    bank = normalize(np.random.default_rng(0).normal(size=[90, 4]).astype(np.float32))
    expected = components(bank, threshold)
    assert expected
    assert [group.tolist() for group in duplicates.groups_above(bank, threshold)] == expected
    cosines = bank @ bank.T - 2 * np.eye(90, dtype=np.float32)
    order = np.argsort(-cosines, axis=1)[:, :89]
    found = duplicates.groups_of_neighbours(np.take_along_axis(cosines, order, 1), order, threshold)
    assert [group.tolist() for group in found] == expected


def test_equal_images_are_duplicates_at_a_cosine_of_one() -> None:
    bank = normalize(np.random.default_rng(0).normal(size=[40, 100]).astype(np.float32))
    groups = duplicates.groups_above(np.concatenate([bank, bank]), 1.0)
    assert [group.tolist() for group in groups] == [[image, image + 40] for image in range(40)]
    assert duplicates.groups_above(bank, 1.0) == []


def test_no_square_matrix_of_a_large_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "CHUNK", 64)
    bank = np.tile(np.eye(1, 4, dtype=np.float32), [3000, 1])
    tracemalloc.start()
    groups = duplicates.groups_above(bank, 0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(group) for group in groups] == [3000]
    assert peak < 3000 * 3000 / 4  # bytes: a quarter of the matrix as booleans
