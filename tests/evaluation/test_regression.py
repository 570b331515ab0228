"""Ridge regression of numbers on features, against what is known of the data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tf_simclr.evaluation import regression


def test_what_is_linear_is_read_and_what_is_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=[300, 8]) * 10.0 ** np.arange(-4, 4)  # features of any scale
    linear = x @ (1 / 10.0 ** np.arange(-4, 4))
    noisy = linear + rng.normal(scale=0.5, size=300)
    targets = np.stack([linear, noisy, rng.normal(size=300), np.full(300, 3.0)], axis=1)
    found = regression.ridge(x[:200], x[200:], targets[:200], targets[200:])
    assert found.r2[0] > 0.9999
    assert found.rmse[1] == pytest.approx(0.5, rel=0.2)
    assert found.r2[1] == pytest.approx(1 - found.rmse[1] ** 2 / noisy[200:].var(), rel=1e-9)
    assert found.r2[2] < 0.1
    assert math.isnan(found.r2[3])


def test_pixels_are_cut_to_the_directions_in_which_they_vary() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=[60, 2])
    pixels = hidden @ rng.normal(size=[2, 40]) + 5
    train, test = regression.principal_components(pixels[:40], pixels[40:], 2, seed=0)
    assert (train.shape, test.shape) == ((40, 2), (20, 2))
    found = regression.ridge(train, test, hidden[:40], hidden[40:])
    assert min(found.r2) > 0.999
    assert regression.principal_components(pixels[:5], pixels[40:], 50, seed=0)[1].shape == (20, 5)
