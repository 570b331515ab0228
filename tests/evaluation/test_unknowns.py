"""Energy, Weibulls, AUROC and accuracies of unknown images, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import weibull_min
from sklearn.metrics import roc_auc_score

from tf_simclr.errors import UsageError
from tf_simclr.evaluation import unknowns, weibull


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_the_energy_is_that_of_eq_4(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=[5, 7])
    expected = [-temperature * np.log(sum(np.exp(g / temperature) for g in row)) for row in logits]
    found = weibull.energy(logits, temperature)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(weibull.energy(logits + 3.0, temperature), found - 3.0)
    np.testing.assert_allclose(weibull.energy(np.zeros([2, 7]), temperature), -temperature * np.log(7))


def test_the_fits_find_the_distributions_that_energies_are_of() -> None:
    rng = np.random.default_rng(0)
    made = (3.0, 5.0, 6.0), (2.0, 1.0, 3.0)
    known, unknown = (-weibull_min.rvs(*own, size=4000, random_state=rng) for own in made)
    fitted = weibull.fit(known, unknown)
    np.testing.assert_allclose(fitted.known, made[0], rtol=0.15)
    np.testing.assert_allclose(fitted.unknown, made[1], rtol=0.15)
    asked = np.array([-20.0, -11.0, -6.0, -3.0])
    expected = weibull_min(*fitted.unknown).logpdf(-asked) - weibull_min(*fitted.known).logpdf(-asked)
    found = fitted.log_ratio(asked)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(found > 0, [False, False, True, True])


def test_an_energy_above_all_is_unknown() -> None:
    fitted = weibull.Weibulls((2.0, 3.0, 1.0), (2.0, 1.0, 1.0))
    np.testing.assert_array_equal(fitted.log_ratio(np.array([0.0, -1.5])), [np.inf, np.inf])
    assert weibull.Weibulls((2.0, 1.0, 1.0), (2.0, 3.0, 1.0)).log_ratio(np.array([-1.5])) == [-np.inf]


def test_what_no_weibull_can_be_fitted_to_is_said() -> None:
    with pytest.raises(UsageError, match="the 50 held-out images of unknown classes, 1 of which differ"):
        weibull.fit(np.arange(20.0), np.full(50, -np.log(6)))


def test_auroc_is_scikit_learns_and_ranks_infinity_too() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 30).astype(float)
    labels = np.repeat([0, 1], [40, 30])
    expected = 100 * roc_auc_score(labels, np.concatenate([known, unknown]))
    np.testing.assert_allclose(unknowns.auroc(known, unknown), expected)
    unknown[unknown == 8] = np.inf
    np.testing.assert_allclose(unknowns.auroc(known, unknown), expected)


def test_the_threshold_is_the_best_that_there_is() -> None:
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(size=50), rng.normal(1.0, size=20)
    everyone_right = np.full(50, True)

    def balanced(from_on: float) -> float:
        return unknowns.accuracies(known, unknown, everyone_right, from_on)["balanced_accuracy"]

    tried = [balanced(value) for value in np.concatenate([known, unknown])]
    assert balanced(unknowns.threshold(known, unknown)) == max(tried)


def test_accuracies_by_hand() -> None:
    found = unknowns.accuracies(
        np.array([0.1, 0.2, 0.6, 0.3]), np.array([0.5, 0.4]), np.array([True, False, True, True]), 0.5
    )
    expected = {"known_accuracy": 75.0, "unknown_accuracy": 50.0, "balanced_accuracy": 62.5}
    assert found == expected | {"open_set_accuracy": 50.0}
