"""k-means finds what is there, the largest first, and says how far each image is from its centre."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from tf_simclr.evaluation import clusters


def test_blobs_are_clusters_by_size() -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 2], [10, 30, 20]))
    bank = normalize(np.eye(3, 8)[truth] + 0.05 * rng.normal(size=[60, 8])).astype(np.float32)
    found = clusters.k_means(bank, 3, seed=0)
    np.testing.assert_array_equal(found.numbers, np.array([2, 0, 1])[truth])
    assert found.count == 3
    for number in range(3):
        members = np.flatnonzero(found.numbers == number)
        distances = np.linalg.norm(bank[members] - bank[members].mean(axis=0), axis=1)
        np.testing.assert_allclose(found.distances[members], distances, atol=1e-5)
        np.testing.assert_array_equal(found.nearest(number), members[np.argsort(distances)])


def test_fewer_different_images_than_clusters_is_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    found = clusters.k_means(np.repeat(np.eye(2, 4, dtype=np.float32), 3, axis=0), 5, seed=0)
    assert found.count == 2
    assert np.bincount(found.numbers).tolist() == [3, 3]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("images", "count"), [(1, 1), (2, 2), (3, 2), (250, 11), (1437, 27), (10**6, clusters.MOST_BY_THEMSELVES)]
)
def test_clusters_where_none_are_asked_for(images: int, count: int) -> None:
    assert clusters.how_many(images) == count
