"""BYOL against its equations: loss, gradient, target, and what becomes of it without its predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.collapse import std_after_training
from tests.methods.method_test import run_method_test
from tests.processes import finish, start
from tf_simclr import pretrain
from tf_simclr.checks import parity
from tf_simclr.config import Config, flags
from tf_simclr.errors import UsageError
from tf_simclr.methods.byol import BYOL
from tf_simclr.methods.prediction import channel_std
from tf_simclr.models import Pretraining

WORKER = Path(__file__).with_name("predicting_worker.py")
METHOD = BYOL(base_target_ema=0.9, predictor_hidden_dim=5)


@pytest.fixture
def rows() -> list[np.ndarray]:
    """z, predictions and targets of 4 images, [8, 3] each."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=[8, 3]).astype(np.float32) for _ in range(3)]


def model(method: BYOL = METHOD) -> Pretraining:
    made = parity.model(method=method)
    made.compile(tf.keras.optimizers.SGD(0.5))
    return made


def batches(steps: int) -> tf.data.Dataset:
    views = tf.random.stateless_uniform([steps, 8, 2, parity.SIDE, parity.SIDE, 3], [1, 2])
    return tf.data.Dataset.from_tensor_slices({"views": views, "label": tf.zeros([steps, 8], tf.int64)})


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("byol", tmp_path, proj_batch_norm="hidden", predictor_hidden_dim=16)


def test_the_loss_is_the_equations(rows: list[np.ndarray]) -> None:
    z, p, targets = rows
    expected = 0.0
    for image in range(4):
        for one, other in ((image, image + 4), (image + 4, image)):
            ours = p[one] / np.linalg.norm(p[one])
            theirs = targets[other] / np.linalg.norm(targets[other])
            expected += np.sum((ours - theirs) ** 2) / 4
    loss, figures = METHOD.loss(None, (z, p), targets, {})
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(figures["byol_loss"]) == float(loss)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    assert float(figures["projection_std"]) == pytest.approx(np.mean(np.std(unit, axis=0)), rel=1e-5)


def test_orthogonal_rows_give_4_and_collapsed_ones_0() -> None:
    up, right = np.tile([[0.0, 2.0]], [6, 1]), np.tile([[3.0, 0.0]], [6, 1])
    assert float(METHOD.loss(None, (up, up), right, {})[0]) == pytest.approx(4)
    assert float(METHOD.loss(None, (up, up), 5 * up, {})[0]) == pytest.approx(0)
    assert float(METHOD.loss(None, (up, up), -up, {})[0]) == pytest.approx(8)


def test_the_gradient_turns_predictions_and_does_not_stretch_them(rows: list[np.ndarray]) -> None:
    z, p, targets = (tf.constant(each) for each in rows)
    with tf.GradientTape() as tape:
        tape.watch([z, p])
        loss, _ = METHOD.loss(None, (z, p), targets, {})
    by_z, by_p = tape.gradient(loss, [z, p])
    assert by_z is None
    length = np.linalg.norm(rows[1], axis=1, keepdims=True)
    unit = rows[1] / length
    other = np.roll(rows[2] / np.linalg.norm(rows[2], axis=1, keepdims=True), 4, axis=0)
    cosine = np.sum(unit * other, axis=1, keepdims=True)
    np.testing.assert_allclose(by_p, -2 * (other - cosine * unit) / length / 4, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.sum(by_p * rows[1], axis=1), 0, atol=1e-6)


def test_everything_but_the_target_is_trained() -> None:
    trained = model()
    views = tf.random.stateless_uniform([8, parity.SIDE, parity.SIDE, 3], [3, 4])
    target, predictor = trained.state["target"], trained.state["predictor"]
    with tf.GradientTape() as tape:
        targets = METHOD.targets(trained, views, training=True)
        loss, _ = METHOD.loss(trained, trained.represent(views, training=True)[1], targets, {})
    ours = [*METHOD.trained(trained)[0].trainable_variables, *predictor.trainable_variables]
    gradients = tape.gradient(loss, [*ours, *target.trainable_variables])
    assert all(gradient is not None for gradient in gradients[: len(ours)])
    assert all(gradient is None for gradient in gradients[len(ours) :])
    moved = {id(variable) for variable in trained.trainable_variables}
    assert moved >= {id(variable) for variable in ours}
    assert moved.isdisjoint(id(variable) for variable in target.variables)


def test_the_target_starts_equal_and_takes_the_statistics_of_the_batch() -> None:
    trained = model()
    views = tf.random.stateless_uniform([8, parity.SIDE, parity.SIDE, 3], [3, 4])
    targets = METHOD.targets(trained, views, training=True)
    _, (z, _) = trained.represent(views, training=True)
    np.testing.assert_allclose(targets, z, rtol=1e-5, atol=1e-6)
    still = METHOD.targets(trained, views, training=False)
    assert float(tf.reduce_max(tf.abs(still - targets))) > 0.1


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.9), (1, 1 - 0.1 * (1 + np.cos(np.pi / 8)) / 2), (4, 0.95), (8, 1.0)]
)
def test_tau_rises_along_a_cosine(step: int, expected: float) -> None:
    assert float(METHOD.target_ema(step, 8)) == pytest.approx(expected)
    assert float(METHOD.target_ema(step, 0)) == pytest.approx(0.9)


def test_the_target_follows_the_weights_after_each_step() -> None:
    trained = model()
    online = trained.encoder.trainable_variables
    expected = [variable.numpy() for variable in online]
    for step, batch in enumerate(batches(parity.STEPS)):
        trained.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        tau = 1 - 0.1 * (1 + np.cos(np.pi * step / parity.STEPS)) / 2
        expected = [tau * old + (1 - tau) * new.numpy() for old, new in zip(expected, online, strict=True)]
    averages = trained.state["target"].layers[0].trainable_variables
    for average, variable, value in zip(averages, online, expected, strict=True):
        np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7)
        assert float(tf.reduce_max(tf.abs(average - variable))) > 1e-6


@pytest.mark.slow
def test_two_replicas_train_as_one_and_known_mistakes_do_not() -> None:
    output = finish(start([str(WORKER), "byol"]))
    print(output)
    assert output.count("differ by") == 4


@pytest.mark.slow
def test_without_its_predictor_it_collapses() -> None:
    healthy = 1 / np.sqrt(8)
    options = {"base_target_ema": 0.9, "predictor_hidden_dim": 32}
    assert std_after_training(BYOL(**options)) > healthy / 2
    assert std_after_training(BYOL(**options, predictor_layers=0)) < healthy / 5


def test_a_collapsed_batch_has_no_spread() -> None:
    assert float(channel_std(tf.ones([6, 4]))) == pytest.approx(0, abs=1e-3)
    rows = tf.random.stateless_normal([4096, 16], [1, 2])
    assert float(channel_std(rows)) == pytest.approx(1 / 4, rel=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_target_ema": 1.5}, "--base_target_ema=1.5: must be at most 1"),
        ({"base_target_ema": -0.1}, "--base_target_ema=-0.1: must be at least 0"),
        ({"predictor_layers": -1}, "--predictor_layers=-1: must be at least 0"),
    ],
)
def test_settings_out_of_bounds_are_refused_in_one_line(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Config("pretrain").replace(method="byol", **options)
    assert "\n" not in str(error.value)


def test_the_published_networks_are_its_defaults() -> None:
    _, config = flags.parse(pretrain.COMMAND, ["--method=byol"])
    head = config.head
    assert (head.num_proj_layers, head.proj_hidden_dim, head.proj_out_dim) == (2, 4096, 256)
    assert head.proj_batch_norm == "hidden"
    sizes = config.method.sizes(own=8, images=16, dim=256, weights=1000, replicas=2)
    assert sizes.state == 1000 + 3 * 4 * 2 * 4096 * 256
    assert sizes.exchanged == 4 * 2 * 4096 * 256
