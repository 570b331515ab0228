"""k-means clusters of representations, on the sphere that cosines compare them on."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

MOST_BY_THEMSELVES = 50
STARTS = 4


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Clusters of n images, the largest first: `numbers` int64 [n] and `distances` float32 [n], Euclidean,
    of each image to its cluster's centre."""

    numbers: np.ndarray
    distances: np.ndarray

    def nearest(self, number: int) -> np.ndarray:
        """The images of a cluster, the nearest to its centre first."""
        members = np.flatnonzero(self.numbers == number)
        return members[np.argsort(self.distances[members], kind="stable")]

    @property
    def count(self) -> int:
        return int(self.numbers.max()) + 1


def how_many(num_images: int) -> int:
    """Clusters where no number is asked for: the root of half the images (Mardia et al., 1979), 2 to 50."""
    return min(max(2, round((num_images / 2) ** 0.5)), MOST_BY_THEMSELVES, num_images)


def k_means(bank: np.ndarray, count: int, seed: int) -> Clusters:
    """k-means, the best of four starts.

    Args:
      bank: float32 [n, D], of length 1 or 0.
      count: of clusters, at most n; fewer come out where fewer images differ.
      seed: of the starts.
    """
    fitted = KMeans(count, n_init=STARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer images differ than there are clusters
        found = fitted.fit_predict(bank)
    sizes = np.bincount(found, minlength=count)
    place = np.empty(count, np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(count)
    distances = np.linalg.norm(bank - fitted.cluster_centers_[found], axis=1)
    return Clusters(place[found], distances.astype(np.float32))
