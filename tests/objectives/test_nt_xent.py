"""NT-Xent against the authors' values, a transcription of Alg. 1, closed forms and invariants."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compiled import optimized, waits
from tf_simclr.errors import UsageError
from tf_simclr.objectives import Contrast, nt_xent


def _value_and_gradient(z: np.ndarray, *args: object, **kwargs: object) -> tuple[Contrast, np.ndarray]:
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        result = nt_xent(z, *args, **kwargs)
    return result, tape.gradient(result.loss, z).numpy()


def _projections(n: int, d: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[2 * n, d]).astype(dtype)


def _algorithm_1(z: np.ndarray, temperature: float, l2_normalize: bool) -> float:
    """Alg. 1 in loops: 2L, the views of image k being rows k and n + k."""
    if l2_normalize:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n = len(z) // 2

    def pair_loss(i: int, j: int) -> float:
        denominator = sum(math.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        return -math.log(math.exp(z[i] @ z[j] / temperature) / denominator)

    mean = sum(pair_loss(k, n + k) + pair_loss(n + k, k) for k in range(n)) / (2 * n)  # L
    return 2 * mean


def _assert_close(a: np.ndarray, b: np.ndarray, relative: float) -> None:
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)


@pytest.mark.parametrize("block_size", [None, 1, 7, 16, 1000])
@pytest.mark.parametrize("case", range(5))
def test_equals_the_authors_code(golden: Path, case: int, block_size: int | None) -> None:
    values = {k.removeprefix(f"case{case}_"): v for k, v in np.load(golden / "nt_xent.npz").items()}
    result, gradient = _value_and_gradient(
        values["projections"], float(values["temperature"]), bool(values["l2_normalize"]), block_size
    )
    np.testing.assert_allclose(result.loss, values["loss"], rtol=1e-5)
    np.testing.assert_allclose(result.contrastive_accuracy, values["contrast_accuracy"], rtol=1e-5)
    np.testing.assert_allclose(result.contrastive_entropy, values["contrast_entropy"], rtol=1e-5)
    _assert_close(gradient, values["grad"], 1e-5)


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("l2_normalize", [True, False])
def test_equals_algorithm_1(l2_normalize: bool, block_size: int | None) -> None:
    z = _projections(5, 3)
    loss = nt_xent(tf.constant(z), 0.3, l2_normalize, block_size).loss
    np.testing.assert_allclose(loss, _algorithm_1(z, 0.3, l2_normalize), rtol=1e-12)


@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("n", [1, 2, 8])
def test_equal_similarities_give_log_of_2n_minus_1(n: int, block_size: int | None) -> None:
    result = nt_xent(tf.ones([2 * n, 4]), 0.1, block_size=block_size)
    np.testing.assert_allclose(result.loss, 2 * math.log(2 * n - 1), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(result.contrastive_entropy, math.log(n), atol=1e-5)


def test_accuracy_counts_retrieved_images() -> None:
    eye = np.eye(4)
    swapped = eye[[1, 0, 2, 3]]
    assert nt_xent(tf.constant(np.concatenate([eye, eye])), 0.1).contrastive_accuracy == 1.0
    assert nt_xent(tf.constant(np.concatenate([eye, swapped])), 0.1).contrastive_accuracy == 0.5


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 9),
    temperature=st.floats(0.02, 10.0),
    l2_normalize=st.booleans(),
    block_size=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_any_block_size_equals_the_full_matrix(
    n: int, d: int, temperature: float, l2_normalize: bool, block_size: int, seed: int
) -> None:
    z = _projections(n, d, seed)
    expected, expected_gradient = _value_and_gradient(z, temperature, l2_normalize)
    result, gradient = _value_and_gradient(z, temperature, l2_normalize, block_size)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 10), temperature=st.floats(0.05, 5.0), seed=st.integers(0, 99))
def test_neither_the_views_order_nor_the_images_order_matters(n: int, temperature: float, seed: int) -> None:
    z = _projections(n, 6, seed)
    order = np.random.default_rng(seed).permutation(n)
    loss = nt_xent(tf.constant(z), temperature).loss
    np.testing.assert_allclose(nt_xent(tf.constant(np.roll(z, n, axis=0)), temperature).loss, loss, rtol=1e-9)
    permuted, accuracy_entropy = (
        z[np.concatenate([order, order + n])],
        nt_xent(tf.constant(z), temperature)[1:],
    )
    np.testing.assert_allclose(nt_xent(tf.constant(permuted), temperature).loss, loss, rtol=1e-9)
    np.testing.assert_allclose(nt_xent(tf.constant(permuted), temperature)[1:], accuracy_entropy, rtol=1e-9)


@pytest.mark.parametrize("block_size", [None, 3])
def test_gradient_is_the_numerical_one(block_size: int | None) -> None:
    z = _projections(4, 3)
    direction = _projections(4, 3, seed=1)
    _, gradient = _value_and_gradient(z, 0.5, True, block_size)
    up, down = (nt_xent(tf.constant(z + e * direction), 0.5).loss for e in (1e-5, -1e-5))
    np.testing.assert_allclose((gradient * direction).sum(), (up - down) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("block_size", [None, 3])
def test_zero_projections_have_a_finite_gradient(block_size: int | None) -> None:
    z = _projections(4, 3, dtype="float32")
    z[[1, 5]] = 0.0
    result, gradient = _value_and_gradient(z, 0.1, True, block_size)
    assert np.isfinite(result).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_huge_logits_neither_overflow_nor_vanish(scale: float, block_size: int | None) -> None:
    """Rows whose log-sum-exps lie far apart; float64 is the witness."""
    z = (_projections(4, 3) * scale ** np.linspace(-0.5, 0.5, 8)[:, None]).astype("float32")
    expected, expected_gradient = _value_and_gradient(z.astype("float64"), 1.0, False)
    result, gradient = _value_and_gradient(z, 1.0, False, block_size)
    np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-5)
    _assert_close(gradient, expected_gradient, 1e-4)


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize(
    ("dtype", "out"), [("float16", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_16_bit_projections_are_computed_in_float32(dtype: str, out: str, block_size: int | None) -> None:
    z = tf.cast(_projections(4, 3), dtype)
    with tf.GradientTape() as tape:
        tape.watch(z)
        result = nt_xent(z, 0.1, block_size=block_size)
    assert {scalar.dtype.name for scalar in result} == {out}
    gradient = tape.gradient(result.loss, z)
    assert gradient.dtype == z.dtype
    exact = nt_xent(tf.cast(z, tf.float64), 0.1)
    np.testing.assert_allclose(result.loss, exact.loss, rtol=1e-5)


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("jit", [False, True])
def test_compiled_equals_eager(jit: bool, block_size: int | None) -> None:
    z = _projections(4, 3)
    eager, gradient = _value_and_gradient(z, 0.1, True, block_size)

    @tf.function(jit_compile=jit)
    def compiled(z: tf.Tensor) -> tuple[Contrast, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(z)
            result = nt_xent(z, 0.1, block_size=block_size)
        return result, tape.gradient(result.loss, z)

    result, compiled_gradient = compiled(tf.constant(z))
    assert all(scalar.shape == [] for scalar in result)
    np.testing.assert_allclose(result, eager, rtol=1e-9)
    np.testing.assert_allclose(compiled_gradient, gradient, rtol=1e-8, atol=1e-12)


def test_batches_of_unknown_size() -> None:
    signature = [tf.TensorSpec([None, 3], tf.float64)]
    full = tf.function(lambda z: nt_xent(z, 0.1), input_signature=signature)
    for n in (2, 5):
        z = _projections(n, 3)
        np.testing.assert_allclose(full(z), nt_xent(tf.constant(z), 0.1), rtol=1e-9)
    with pytest.raises(UsageError, match="loss_block_size: needs batches of a fixed size"):
        tf.function(lambda z: nt_xent(z, 0.1, block_size=2), signature, autograph=False)(_projections(2, 3))


def test_block_size_below_1() -> None:
    with pytest.raises(UsageError, match="block size does not fit"):
        nt_xent(tf.ones([4, 2]), 0.1, block_size=0)


def test_metrics_carry_no_gradient() -> None:
    for block_size in (None, 2):
        z = tf.constant(_projections(3, 2))
        with tf.GradientTape() as tape:
            tape.watch(z)
            entropy = nt_xent(z, 0.1, block_size=block_size).contrastive_entropy
        gradient = tape.gradient(entropy, z)
        assert gradient is None or not gradient.numpy().any()


def test_blocks_need_memory_linear_in_the_batch() -> None:
    """No tensor of the traced graph, backward pass included, is as large as the similarity matrix."""

    @tf.function
    def gradient(z: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent(z, 0.1, block_size=8).loss
        return tape.gradient(loss, z)

    def largest(graph: tf.Graph) -> int:
        shapes = [output.shape for op in graph.get_operations() for output in op.outputs]
        return max(shape.num_elements() or 0 for shape in shapes if shape.rank is not None)

    graph = gradient.get_concrete_function(tf.TensorSpec([128, 4], tf.float32)).graph
    assert largest(graph) == 8 * 128


def test_compiled_blocks_are_worked_through_one_by_one() -> None:
    """XLA knows no control dependencies: every strip of logits must be reached from the strip before it."""

    @tf.function(jit_compile=True)
    def gradient(z: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent(z, 0.1, block_size=8).loss
        return tape.gradient(loss, z)

    program = optimized(gradient, tf.zeros([32, 5]))
    strips = re.findall(r"^ *(%[\w.-]+) = f32\[8,(?!5\])\d+\]\S* dot\(", program, re.MULTILINE)
    assert len(strips) == 4 + 4  # forward, and made again backward
    for before, strip in itertools.pairwise(strips):
        assert waits(program, strip, before), f"{strip} does not wait for {before}"
