"""Barlow Twins against its equations: loss, values known beforehand, and the batch of all replicas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.processes import finish, start
from tf_simclr import pretrain
from tf_simclr.checks import parity
from tf_simclr.config import Config, flags
from tf_simclr.errors import UsageError
from tf_simclr.methods.barlow_twins import BarlowTwins

WORKER = Path(__file__).with_name("predicting_worker.py")
N, D, LAMBDA = 256, 2048, 0.005
METHOD = BarlowTwins(lambd=LAMBDA)


def loss(a: np.ndarray, b: np.ndarray, method: BarlowTwins = METHOD) -> float:
    return float(method.loss(None, tf.concat([a, b], axis=0), None, {})[0])


def white(columns: int) -> np.ndarray:
    """Features [N, columns] of mean 0 and variance 1."""
    z = np.random.default_rng(columns).normal(size=[N, columns]).astype(np.float32)
    return (z - z.mean(axis=0)) / z.std(axis=0)


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("barlow_twins", tmp_path, proj_batch_norm="hidden", num_proj_layers=3, scale_loss=0.02)


def test_the_loss_is_the_equations() -> None:
    a, b = np.random.default_rng(0).normal(1, 2, size=[2, 6, 3])
    on = off = 0.0
    for i in range(3):
        for j in range(3):
            ours = (a[:, i] - a[:, i].mean()) / np.sqrt(a[:, i].var() + 1e-5)
            theirs = (b[:, j] - b[:, j].mean()) / np.sqrt(b[:, j].var() + 1e-5)
            entry = sum(ours * theirs) / 6
            on, off = (on + (entry - 1) ** 2, off) if i == j else (on, off + entry**2)
    value, figures = METHOD.loss(None, tf.constant(np.concatenate([a, b])), None, {})
    assert value.dtype == tf.float64
    assert float(value) == pytest.approx(on + LAMBDA * off, rel=1e-12)
    assert float(figures["on_diagonal"]) == pytest.approx(on, rel=1e-12)
    assert float(figures["off_diagonal"]) == pytest.approx(off, rel=1e-12)


def test_independent_views() -> None:
    expected = D * (1 + 1 / N) + LAMBDA * D * (D - 1) / N  # 2138
    a, b = np.random.default_rng(0).normal(size=[2, N, D]).astype(np.float32)
    assert loss(a, b) == pytest.approx(expected, rel=0.01)


def test_identical_white_views_are_left_with_what_chance_correlates() -> None:
    a = white(D)
    assert loss(a, a) == pytest.approx(LAMBDA * D * (D - 1) / N, rel=0.02)  # 82


def test_a_constant_output_gives_the_number_of_features_and_a_finite_gradient() -> None:
    z = tf.ones([2 * N, D])
    with tf.GradientTape() as tape:
        tape.watch(z)
        value, _ = METHOD.loss(None, z, None, {})
    assert float(value) == D
    assert np.all(np.isfinite(tape.gradient(value, z)))


def test_one_feature_copied_is_all_redundancy() -> None:
    a = np.tile(white(1), [1, D])
    assert loss(a, a) == pytest.approx(LAMBDA * D * (D - 1), rel=1e-3)  # 20,961


def test_scale_and_shift_of_a_feature_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=[2, 64, 5])
    factors, shifts = rng.uniform(1, 9, size=[2, 5]), rng.normal(size=[2, 5])
    moved = loss(factors[0] * a + shifts[0], factors[1] * b + shifts[1])
    assert moved == pytest.approx(loss(a, b), rel=1e-4)


def test_16_bit_projections_are_correlated_in_float32() -> None:
    a = white(8)
    a16 = tf.cast(a, tf.bfloat16)
    value, _ = METHOD.loss(None, tf.concat([a16, a16], axis=0), None, {})
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(loss(a16.numpy().astype(np.float32), a16.numpy().astype(np.float32)))


def test_the_factor_is_the_gradients_and_not_the_figures() -> None:
    a, b = np.random.default_rng(0).normal(size=[2, 16, 3])
    value, figures = BarlowTwins(scale_loss=0.1).loss(None, tf.concat([a, b], axis=0), None, {})
    assert float(value) == pytest.approx(0.1 * float(figures["barlow_loss"]))


def test_encoder_and_head_are_trained() -> None:
    model = parity.model(method=METHOD)
    model.compile(tf.keras.optimizers.SGD(0.5))
    views = tf.random.stateless_uniform([8, parity.SIDE, parity.SIDE, 3], [3, 4])
    with tf.GradientTape() as tape:
        value, _ = METHOD.loss(model, model.represent(views, training=True)[1], None, {})
    ours = [*model.encoder.trainable_variables, *model.projection_head.trainable_variables]
    assert all(gradient is not None for gradient in tape.gradient(value, ours))
    assert model.state is None


@pytest.mark.slow
def test_two_replicas_train_as_one_and_known_mistakes_do_not() -> None:
    output = finish(start([str(WORKER), "barlow_twins"]))
    print(output)
    assert output.count("differ by") == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lambd": -1.0}, "--lambd=-1.0: must be at least 0"),
        ({"scale_loss": 0.0}, "--scale_loss=0.0: must be at least 1e-06"),
    ],
)
def test_settings_out_of_bounds_are_refused_in_one_line(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Config("pretrain").replace(method="barlow_twins", **options)
    assert "\n" not in str(error.value)


def test_the_published_networks_are_its_defaults() -> None:
    _, config = flags.parse(pretrain.COMMAND, ["--method=barlow_twins"])
    head = config.head
    assert (head.num_proj_layers, head.proj_hidden_dim, head.proj_out_dim) == (3, 8192, 8192)
    assert head.proj_batch_norm == "hidden"
    sizes = config.method.sizes(own=8, images=16, dim=64, weights=1000, replicas=2)
    assert sizes.exchanged == 2 * 4 * 2 * 16 * 64
