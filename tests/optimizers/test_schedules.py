"""The learning-rate schedule against the authors' values, and its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.optimizers import WarmUpCosine, scaled_learning_rate


@pytest.mark.parametrize("case", range(5))
def test_equals_the_authors_schedule(golden: Path, case: int) -> None:
    values = np.load(golden / "schedule.npz")

    def value(key: str) -> np.ndarray:
        return values[f"case{case}_{key}"]

    peak = scaled_learning_rate(
        float(value("base_learning_rate")), int(value("batch_size")), str(value("scaling"))
    )
    warmup_steps = int(value("warmup_epochs")) * int(value("num_examples")) // int(value("batch_size"))
    schedule = WarmUpCosine(peak, int(value("total_steps")), warmup_steps)
    rates = [float(schedule(int(step))) for step in value("steps")]
    np.testing.assert_allclose(rates, value("learning_rates"), rtol=1e-6, atol=5e-8 * peak)


def test_scaling() -> None:
    assert scaled_learning_rate(0.3, 4096, "linear") == pytest.approx(4.8)
    assert scaled_learning_rate(0.075, 4096, "sqrt") == pytest.approx(4.8)
    assert scaled_learning_rate(0.1, 4096, "none") == 0.1
    with pytest.raises(UsageError, match=r"learning_rate_scaling: 'cubic'"):
        scaled_learning_rate(0.1, 4096, "cubic")


def test_ends_and_peak() -> None:
    schedule = WarmUpCosine(2.0, 100, 10)
    assert [float(schedule(s)) for s in (0, 5, 10, 55, 100, 1000)] == pytest.approx(
        [0, 1, 2, 1, 0, 0], abs=1e-6
    )


@pytest.mark.parametrize(("total", "warmup"), [(0, 0), (1, 1), (10, 10), (5, 10), (1, 0)])
def test_short_runs_are_finite(total: int, warmup: int) -> None:
    schedule = WarmUpCosine(1.0, total, warmup)
    rates = np.array([float(schedule(step)) for step in range(15)])
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()
    assert (rates <= 1).all()


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_any_step_dtype_also_compiled(dtype: str) -> None:
    schedule = WarmUpCosine(1.0, 100, 10)
    step = tf.constant(40, dtype)
    compiled = tf.function(schedule, jit_compile=True)
    assert schedule(step).dtype == tf.float32
    assert float(compiled(step)) == pytest.approx(0.75, rel=1e-6)


def test_config_round_trip() -> None:
    schedule = WarmUpCosine(1.5, 100, 10)
    again = tf.keras.optimizers.schedules.deserialize(tf.keras.optimizers.schedules.serialize(schedule))
    assert isinstance(again, WarmUpCosine)
    assert again.get_config() == schedule.get_config()
