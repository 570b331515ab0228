"""Maps keep neighbours together, are the same for the same seed, and of any few images."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from tf_simclr.errors import UsageError
from tf_simclr.evaluation import maps


@pytest.fixture(params=["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "umap":
        pytest.importorskip("umap", reason="requirements-search.txt")
    return request.param


def test_neighbours_stay_together(kind: str) -> None:
    rng = np.random.default_rng(0)
    blobs = np.repeat([0, 1, 2], 20)
    values = normalize(np.eye(3, 60)[blobs] + 0.03 * rng.normal(size=[60, 60])).astype(np.float32)
    points = maps.positions(values, kind, seed=0)
    assert points.shape == (60, 2)
    assert points.min() == 0
    assert points.max() == pytest.approx(1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(60)
    assert (blobs[distances.argmin(axis=1)] == blobs).mean() > 0.95
    np.testing.assert_array_equal(points, maps.positions(values, kind, seed=0))


@pytest.mark.parametrize("count", [2, 3, 4, 16])
def test_few_images_have_a_map(kind: str, count: int) -> None:
    points = maps.positions(np.eye(count, 16, dtype=np.float32), kind, seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    maps.require("tsne")
    with pytest.raises(UsageError, match=r"--map=umap needs .*requirements-search\.txt"):
        maps.require("umap")
