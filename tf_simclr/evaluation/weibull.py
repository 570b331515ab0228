"""Known or unknown by the energy of the logits (ORE, arXiv:2103.02603, Sec. 4.3, Eq. 3 and 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import weibull_min

from tf_simclr.errors import UsageError

LEAST = 5  # images that three numbers can be fitted to

Parameters = tuple[float, float, float]


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """E = -T log sum_i exp(g_i / T) (Eq. 4), [n] of logits [n, C]: the higher, the less is known."""
    return -temperature * logsumexp(np.asarray(logits, np.float64) / temperature, axis=1)


class Weibulls(NamedTuple):
    """Shape, location and scale of two shifted Weibull distributions of the negative energy.

    The authors' code fits +T logsumexp at a T of 1.5, is tested at 1, and integrates the density over half a
    unit to both sides; here T is one, and the densities are compared as they are.
    """

    known: Parameters
    unknown: Parameters

    def log_ratio(self, energies: np.ndarray) -> np.ndarray:
        """log xi_unk(E) - log xi_kn(E), [n]; unknown where it is above 0.

        An energy beyond the end of both distributions is higher than any known image's: infinity.
        """
        known, unknown = (weibull_min.logpdf(-energies, *fitted) for fitted in self)
        beyond = np.isneginf(known) & np.isneginf(unknown)
        return np.where(beyond, np.inf, unknown - np.where(beyond, 0.0, known))


def fit(known: np.ndarray, unknown: np.ndarray) -> Weibulls:
    """The distributions of held-out energies, [n] of known and [m] of unknown images, by maximum likelihood.

    Raises:
        UsageError: there are too few, or all are the same.
    """
    return Weibulls(_fitted(known, "known"), _fitted(unknown, "unknown"))


def _fitted(energies: np.ndarray, what: str) -> Parameters:
    if len(energies) < LEAST or np.ptp(energies) == 0:
        raise UsageError(
            f"--train_split: {len(energies)} images of {what} classes are held out, of "
            f"{len(np.unique(energies))} different energies; a Weibull takes {LEAST} and more that differ: "
            "give more images, or train longer"
        )
    shape, location, scale = weibull_min.fit(-energies)
    return float(shape), float(location), float(scale)
