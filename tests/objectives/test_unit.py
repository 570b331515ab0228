"""Rows of zeros in half precision: every loss and its gradient stay finite."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.methods.byol import BYOL
from tf_simclr.methods.method import Method
from tf_simclr.methods.moco import MoCo
from tf_simclr.methods.nnclr import NNCLR
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.methods.simsiam import SimSiam
from tf_simclr.methods.state import Queue
from tf_simclr.methods.supcon import SupCon
from tf_simclr.objectives import nt_xent
from tf_simclr.objectives.unit import unit

ROWS = np.random.default_rng(0).normal(size=[8, 5]).astype(np.float16)
ROWS[[0, 5]] = 0
ROWS[1] = 2.0**-20  # neither zero nor normal in float16
MODEL = SimpleNamespace(state={"queue": Queue(16, 5)})
BATCH = {"label": tf.constant([0, 1, 0, -1], tf.int64)}


def value_and_gradient(f: Callable[[tf.Tensor], tf.Tensor], rows: np.ndarray) -> tuple[Any, Any]:
    z = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = f(z)
    return value.numpy(), tape.gradient(value, z).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wider_rows_are_normalised_as_ever(dtype: Any) -> None:
    rows = ROWS.astype(dtype)
    ours, plain = (
        value_and_gradient(lambda z, f=f: tf.reduce_sum(f(z) ** 3), rows)
        for f in (unit, lambda z: tf.math.l2_normalize(z, axis=-1))
    )
    np.testing.assert_array_equal(ours[1], plain[1])
    assert ours[0] == plain[0]
    assert ours[1].dtype == dtype


def test_half_precision_is_float32_but_for_rows_without_direction() -> None:
    half, wide = (
        value_and_gradient(lambda z: tf.reduce_sum(unit(z) ** 3), rows)
        for rows in (ROWS, ROWS.astype(np.float32))
    )
    assert half[0] == wide[0]
    assert half[0].dtype == np.float32
    short = [0, 1, 5]
    assert not half[1][short].any()
    np.testing.assert_allclose(
        np.delete(half[1], short, 0), np.delete(wide[1], short, 0), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize(
    ("method", "outputs"),
    [
        (SimCLR(), lambda z: z),
        (SimCLR(loss_block_size=3), lambda z: z),
        (SupCon(), lambda z: z),
        (SimSiam(), lambda z: (z, z + 0)),
        (BYOL(), lambda z: (z, z + 0)),
        (NNCLR(), lambda z: (z, z + 0)),
        (MoCo(queue_size=16, symmetric=True), lambda z: z),
        (MoCo(queue_size=0, symmetric=True), lambda z: z),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_row_of_zeros_makes_nothing_infinite(method: Method, outputs: Callable[[tf.Tensor], Any]) -> None:
    targets = unit(tf.constant(ROWS[::-1])) if isinstance(method, MoCo) else tf.constant(ROWS[::-1])
    loss, gradient = value_and_gradient(lambda z: method.loss(MODEL, outputs(z), targets, BATCH)[0], ROWS)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert gradient.any()


@pytest.mark.parametrize("temperature", [0, -0.5, float("nan")])
def test_a_temperature_that_is_not_above_0_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match=r"temperature=.* must be greater than 0"):
        nt_xent(tf.constant(ROWS), temperature)
