"""Batch norm against a NumPy transcription, the fused kernel, and itself on two replicas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_simclr.models import BatchNorm
from tf_simclr.networks import batch_norm


def oracle(x: np.ndarray, epsilon: float = 1e-5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised values, mean and unbiased variance, in float64."""
    x = x.astype(np.float64)
    flat = x.reshape(-1, x.shape[-1])
    mean, variance = flat.mean(0), flat.var(0)
    return (x - mean) / np.sqrt(variance + epsilon), mean, variance * len(flat) / max(len(flat) - 1, 1)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    decay=st.floats(0, 1),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_equals_the_formula(shape: list[int], decay: float, dtype: str, seed: int) -> None:
    x = np.random.default_rng(seed).normal(1, 2, shape).astype(dtype)
    layer = BatchNorm(decay=decay, dtype=dtype)
    y = layer(x, training=True)
    expected, mean, variance = oracle(x)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 2e-3}
    np.testing.assert_allclose(y, expected, **tolerance)
    np.testing.assert_allclose(layer.moving_mean, (1 - decay) * mean, **tolerance)
    np.testing.assert_allclose(layer.moving_variance, decay + (1 - decay) * variance, **tolerance)
    assert y.dtype == dtype


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_fused_and_unfused_agree(jit_compile: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x = tf.cast(rng.normal(1, 2, [6, 5, 5, 3]), tf.keras.mixed_precision.Policy(dtype).compute_dtype)
    direction = rng.normal(size=x.shape)

    def run() -> list[np.ndarray]:
        layer = BatchNorm(gamma_initializer=tf.keras.initializers.Constant(1.5), dtype=dtype)
        layer.build(x.shape)

        @tf.function(jit_compile=jit_compile)
        def step(x: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(tf.cast(y, tf.float32) * tf.constant(direction, tf.float32))
            return [y, *tape.gradient(loss, [x, layer.gamma, layer.beta]), layer(x)]

        results = [np.asarray(tf.cast(value, tf.float64)) for value in step(x)]
        return [*results, layer.moving_mean.numpy(), layer.moving_variance.numpy()]

    fused = run()
    monkeypatch.setattr(batch_norm, "_has_fused_kernel", lambda inputs: False)
    tolerance = 1e-4 if dtype == "float32" else 5e-2
    for one, other in zip(fused, run(), strict=True):
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(one)
    np.testing.assert_allclose(
        fused[-1], 0.9 + 0.1 * oracle(np.asarray(tf.cast(x, tf.float64)))[2], rtol=1e-3
    )


@pytest.mark.parametrize("shape", [[4, 3, 3, 2], [6, 2]])
def test_gradient_is_that_of_the_formula(shape: list[int]) -> None:
    x = tf.constant(np.random.default_rng(2).normal(1, 2, shape))
    layer = BatchNorm(dtype="float64")
    layer.build(x.shape)
    theoretical, numerical = tf.test.compute_gradient(lambda x: layer(x, training=True) ** 3, [x])
    np.testing.assert_allclose(theoretical[0], numerical[0], atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_large_mean_does_no_harm(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "_has_fused_kernel", lambda inputs: fused)
    x = (1e4 + np.random.default_rng(3).normal(size=[64, 4, 4, 2])).astype(np.float32)
    layer = BatchNorm(decay=0.0)
    y = layer(x, training=True)
    expected, _, variance = oracle(x)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3)
    np.testing.assert_allclose(y, expected, atol=2e-2)


def test_inference_uses_the_moving_statistics() -> None:
    for shape in ([2, 3, 3, 2], [5, 2]):
        layer = BatchNorm()
        layer.build(tf.TensorShape(shape))
        values = np.array([2.0, 3.0]), np.array([0.5, -1.0]), np.array([1.0, -2.0]), np.array([4.0, 9.0])
        layer.set_weights(list(values))
        gamma, beta, mean, variance = values
        x = np.random.default_rng(4).normal(size=shape).astype(np.float32)
        expected = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
        layer.trainable = False
        np.testing.assert_array_equal(layer(x, training=True), layer(x))
        np.testing.assert_array_equal(layer.moving_mean, mean)


@pytest.mark.parametrize("shape", [[4, 1, 1, 2], [4, 2]])
def test_epsilon_is_what_was_asked_for(shape: list[int]) -> None:
    """TensorFlow's own wrapper of the fused kernel would raise 1e-5 to 1.001e-5."""
    x = np.tile(np.array([[1e-3], [-1e-3]], np.float32), [2, 2]).reshape(shape)
    for training, variance in ((True, 1e-6), (False, 0.0)):
        layer = BatchNorm()
        layer.build(tf.TensorShape(shape))
        layer.moving_variance.assign([0.0, 0.0])
        y = layer(x, training=training)
        np.testing.assert_allclose(np.abs(y), 1e-3 / np.sqrt(variance + 1e-5), rtol=1e-4)


@pytest.mark.parametrize("shape", [[0, 3, 3, 2], [0, 2]])
def test_empty_batch_leaves_the_statistics(shape: list[int]) -> None:
    layer = BatchNorm()
    assert layer(tf.zeros(shape), training=True).shape == shape
    np.testing.assert_array_equal(layer.moving_mean, [0, 0])
    np.testing.assert_array_equal(layer.moving_variance, [1, 1])


def test_config_round_trip() -> None:
    layer = BatchNorm(
        0.99, 1e-3, center=False, scale=True, gamma_initializer="zeros", global_bn=False, name="bn"
    )
    again = BatchNorm.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    again.build(tf.TensorShape([None, 3]))
    assert again.beta is None
    np.testing.assert_array_equal(again.gamma, np.zeros(3))
    plain = BatchNorm(center=False, scale=False)
    x = np.random.default_rng(5).normal(size=[6, 3]).astype(np.float32)
    np.testing.assert_allclose(plain(x, training=True), oracle(x)[0], atol=1e-4)
    assert plain.trainable_variables == []


@pytest.mark.parametrize("case", ["rank4", "rank2", "empty", "model"])
def test_two_replicas_equal_one(replicated: dict[str, np.ndarray], case: str) -> None:
    keys = [key.split("/", 2)[2] for key in replicated if key.startswith(f"{case}/one/")]
    kinds = {key.split("_")[0] for key in keys}
    assert kinds == {"outputs", "gradient", "moving"}
    for key in keys:
        one, two = (replicated[f"{case}/{replicas}/{key}"] for replicas in ("one", "two"))
        np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9 * max(1, np.abs(one).max()), err_msg=key)


def test_one_all_reduce_forward_and_one_back(replicated: dict[str, np.ndarray]) -> None:
    assert replicated["all_reduces/of_both_replicas"] == 2 * 2


def test_large_mean_does_no_harm_across_replicas(replicated: dict[str, np.ndarray]) -> None:
    """Also at the first step, when the moving mean is 0."""
    expected, _, variance = oracle(replicated["far/values"])
    (moved,) = (value for key, value in replicated.items() if key.startswith("far/moving_1"))
    np.testing.assert_allclose(moved, 0.9 + 0.1 * variance, rtol=1e-3)
    np.testing.assert_allclose(replicated["far/outputs"], expected, atol=2e-2)


def test_replicas_of_their_own(replicated: dict[str, np.ndarray]) -> None:
    """global_bn=False: each part normalised by itself, the moving statistics read as their mean."""
    parts = np.split(replicated["vectors"], 2)
    expected = [oracle(part) for part in parts]
    np.testing.assert_allclose(
        replicated["local/outputs"], np.concatenate([e[0] for e in expected]), rtol=1e-9
    )
    moving = {key[:14]: value for key, value in replicated.items() if key.startswith("local/moving")}
    np.testing.assert_allclose(moving["local/moving_0"], 0.1 * np.mean([e[1] for e in expected], 0))
    np.testing.assert_allclose(moving["local/moving_1"], 0.9 + 0.1 * np.mean([e[2] for e in expected], 0))


def test_statistics_are_carried_across_strategies(replicated: dict[str, np.ndarray]) -> None:
    for i in range(2):
        saved, one, two = (replicated[f"carried/{name}_{i}"] for name in ("saved", "one", "two"))
        assert not np.allclose(saved, i)
        np.testing.assert_allclose(one, saved)
        np.testing.assert_allclose(two, saved)
