"""LARS against the authors' values, its invariants, and what Keras expects of an optimizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.optimizers import LARS, WarmUpCosine

NAMES = ("conv/kernel", "batch_normalization/gamma", "dense/bias", "head_supervised/dense/kernel")


def _variables(seed: int = 0, dtype: str = "float32") -> list[tf.Variable]:
    rng = np.random.default_rng(seed)
    return [tf.Variable(rng.normal(size=shape), dtype=dtype) for shape in ([3, 4], [4])]


def _gradients(variables: list[tf.Variable], seed: int) -> list[tf.Tensor]:
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(size=v.shape), v.dtype) for v in variables]


def _train(optimizer: tf.keras.optimizers.Optimizer, variables: list[tf.Variable], seeds: range) -> None:
    for seed in seeds:
        optimizer.apply_gradients(zip(_gradients(variables, seed), variables, strict=True))


@pytest.mark.parametrize("case", [0, 1, 2])
def test_equals_the_authors_trajectory(golden: Path, case: int) -> None:
    values = np.load(golden / "lars.npz")
    variables = [tf.Variable(values[f"case{case}_init/{name}"]) for name in NAMES]
    optimizer = LARS(
        0.3,
        weight_decay=float(values[f"case{case}_weight_decay"]),
        nesterov=bool(values[f"case{case}_nesterov"]),
        classic_momentum=bool(values[f"case{case}_classic_momentum"]),
    )
    optimizer.exclude_from_weight_decay(var_list=variables[1:])
    for step in range(5):
        gradients = [tf.constant(values[f"case{case}_step{step}/grad/{name}"]) for name in NAMES]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for variable, name in zip(variables, NAMES, strict=True):
            expected = values[f"case{case}_step{step}/value/{name}"]
            distance = np.linalg.norm(variable.numpy() - expected) / np.linalg.norm(expected)
            assert distance <= 1e-6, f"{step} {name}: {distance}"


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("classic", [False, True])
def test_equals_a_plain_transcription(nesterov: bool, classic: bool) -> None:
    """The update written out with NumPy in float64, both adapted and excluded."""
    variables = _variables(dtype="float64")
    optimizer = LARS(0.7, 0.8, 0.01, nesterov, classic, trust_coefficient=0.02)
    optimizer.exclude_from_weight_decay(var_list=variables[1:])
    expected = [v.numpy() for v in variables]
    buffers = [np.zeros_like(w) for w in expected]
    for seed in range(4):
        gradients = [g.numpy() for g in _gradients(variables, seed)]
        for i, gradient in enumerate(gradients):
            w, adapted = expected[i], i == 0
            g = gradient + 0.01 * w if adapted else gradient
            norm = np.linalg.norm
            if classic:
                scaled = 0.7 * g * (0.02 * norm(w) / norm(g) if adapted else 1.0)
                buffers[i] = 0.8 * buffers[i] + scaled
                expected[i] = w - (0.8 * buffers[i] + scaled if nesterov else buffers[i])
            else:
                buffers[i] = 0.8 * buffers[i] + g
                update = 0.8 * buffers[i] + g if nesterov else buffers[i]
                expected[i] = w - 0.7 * update * (0.02 * norm(w) / norm(update) if adapted else 1.0)
        _train(optimizer, variables, range(seed, seed + 1))
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-7)


def test_one_step_on_a_scalar_by_hand() -> None:
    variable = tf.Variable([3.0, 4.0])
    LARS(0.5, weight_decay=0.1).apply_gradients([(tf.constant([0.0, 1.0]), variable)])
    gradient = np.array([0.3, 1.4])
    np.testing.assert_allclose(
        variable, [3, 4] - 0.5 * 0.001 * 5 / np.linalg.norm(gradient) * gradient, rtol=1e-6
    )


def test_adapted_step_does_not_depend_on_the_gradients_scale() -> None:
    first, second = _variables()[:1], _variables()[:1]
    gradient = _gradients(first, 1)[0]
    LARS(0.3).apply_gradients([(gradient, first[0])])
    LARS(0.3).apply_gradients([(1000.0 * gradient, second[0])])
    np.testing.assert_allclose(first[0], second[0], rtol=1e-6)


def test_zero_gradient_and_zero_weights_stay_finite() -> None:
    zero, still = tf.Variable([0.0, 0.0]), tf.Variable([1.0, 2.0])
    LARS(0.3).apply_gradients([(tf.constant([1.0, 1.0]), zero), (tf.zeros([2]), still)])
    np.testing.assert_allclose(zero, [-0.3, -0.3], rtol=1e-6)
    np.testing.assert_allclose(still, [1.0, 2.0])


def test_exclusion_is_by_identity_not_by_name() -> None:
    excluded, adapted = (tf.Variable([3.0, 4.0], name="bias") for _ in range(2))
    optimizer = LARS(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[excluded])
    optimizer.apply_gradients([(tf.ones([2]), excluded), (tf.ones([2]), adapted)])
    np.testing.assert_allclose(excluded, [2.5, 3.5])
    assert np.abs(adapted.numpy() - [3.0, 4.0]).max() < 0.01


def test_config_round_trip_gives_the_same_optimizer() -> None:
    optimizer = LARS(WarmUpCosine(0.3, 10, 2), 0.8, 0.01, True, False, 0.002, name="mine", clipnorm=1.0)
    config = tf.keras.optimizers.serialize(optimizer)
    again = tf.keras.optimizers.deserialize(config)
    assert isinstance(again, LARS)
    assert again.get_config() == optimizer.get_config()
    first, second = _variables(), _variables()
    _train(optimizer, first, range(3))
    _train(again, second, range(3))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_schedule_and_clipping_reach_the_update() -> None:
    variable = tf.Variable([1.0, 1.0])
    optimizer = LARS(WarmUpCosine(1.0, 10, 2), momentum=0.0, clipnorm=0.5)
    optimizer.exclude_from_weight_decay(var_list=[variable])
    gradient = tf.constant([30.0, 40.0])
    optimizer.apply_gradients([(gradient, variable)])
    np.testing.assert_array_equal(variable, [1.0, 1.0])  # rate 0 at step 0
    optimizer.apply_gradients([(gradient, variable)])
    np.testing.assert_allclose(variable, [1 - 0.5 * 0.3, 1 - 0.5 * 0.4], rtol=1e-6)


@pytest.mark.parametrize("restore_before_first_step", [True, False])
def test_resumes_exactly_from_a_checkpoint(tmp_path: Path, restore_before_first_step: bool) -> None:
    undisturbed, optimizer = _variables(), LARS(WarmUpCosine(0.3, 10, 2), weight_decay=0.01)
    _train(optimizer, undisturbed, range(3))
    path = tf.train.Checkpoint(optimizer=optimizer, variables=undisturbed).save(str(tmp_path / "c"))
    _train(optimizer, undisturbed, range(3, 6))

    resumed, optimizer = _variables(seed=9), LARS(WarmUpCosine(0.3, 10, 2), weight_decay=0.01)
    checkpoint = tf.train.Checkpoint(optimizer=optimizer, variables=resumed)
    if not restore_before_first_step:
        optimizer.build(resumed)
    status = checkpoint.restore(path)
    optimizer.build(resumed)
    status.assert_consumed()
    assert int(optimizer.iterations) == 3
    _train(optimizer, resumed, range(3, 6))
    for a, b in zip(undisturbed, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype: str) -> None:
    """A 16-bit norm would overflow here: 400 elements of 200 give a sum of squares of 1.6e7."""
    variable = tf.Variable(tf.fill([400], tf.constant(200.0, dtype)))
    LARS(1.0, trust_coefficient=0.5).apply_gradients([(tf.fill([400], tf.constant(200.0, dtype)), variable)])
    assert variable.dtype == dtype
    np.testing.assert_allclose(tf.cast(variable, tf.float32), np.full(400, 100.0), rtol=1e-2)


@pytest.mark.parametrize("jit", [False, True])
def test_compiled_equals_eager(jit: bool) -> None:
    eager, graph = _variables(), _variables()
    _train(LARS(0.3, weight_decay=0.01), eager, range(3))
    optimizer = LARS(0.3, weight_decay=0.01)
    optimizer.build(graph)
    step = tf.function(lambda g: optimizer.apply_gradients(zip(g, graph, strict=True)), jit_compile=jit)
    for seed in range(3):
        step(_gradients(graph, seed))
    for a, b in zip(eager, graph, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_sparse_gradients_are_made_dense() -> None:
    dense, sparse = tf.Variable(tf.ones([3, 2])), tf.Variable(tf.ones([3, 2]))
    slices = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([0, 2]), tf.constant([3, 2]))
    LARS(0.3).apply_gradients([(tf.convert_to_tensor(slices), dense)])
    LARS(0.3).apply_gradients([(slices, sparse)])
    np.testing.assert_allclose(dense, sparse)


def test_trains_in_keras_fit_with_a_clone_and_mixed_precision() -> None:
    layer = tf.keras.layers.Dense(1, dtype=tf.keras.mixed_precision.Policy("mixed_float16"), input_shape=[4])
    model = tf.keras.Sequential([layer])
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(LARS(0.5, weight_decay=1e-4))
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    before = model.get_weights()[0]
    model.fit(rng.normal(size=[8, 4]), rng.normal(size=[8, 1]), epochs=2, verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()
    assert np.abs(model.get_weights()[0] - before).max() > 0
