"""Known or unknown by the energy of the logits (ORE, arXiv:2103.02603, Sec. 4.3, Eq. 3 and 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import FitError, weibull_min

from tf_simclr.errors import UsageError

LEAST = 5  # images that three numbers are fitted to

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
        UsageError: none fits, as where all energies are the same.
    """
    return Weibulls(_fitted(known, "known"), _fitted(unknown, "unknown"))


def _fitted(energies: np.ndarray, what: str) -> Parameters:
    try:
        with np.errstate(all="ignore"):
            fitted = np.array(weibull_min.fit(-energies)) if np.ptp(energies) else np.array(np.nan)
    except FitError:
        fitted = np.array(np.nan)
    if not np.isfinite(fitted).all():
        raise UsageError(
            f"--train_split: no Weibull fits the energies of the {len(energies)} held-out images of {what} "
            f"classes, {len(np.unique(energies))} of which differ; give more images, or train longer"
        )
    shape, location, scale = fitted.tolist()
    return shape, location, scale
