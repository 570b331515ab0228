"""SimSiam against its equations: loss, stop-gradient, and what becomes of it without its predictor."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

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
from tf_simclr.methods.simsiam import SimSiam
from tf_simclr.optimizers import LARS, SGD, WarmUpCosine

WORKER = Path(__file__).with_name("predicting_worker.py")
METHOD = SimSiam(predictor_hidden_dim=5)


@pytest.fixture
def rows() -> list[tf.Tensor]:
    """z and predictions of 4 images, [8, 3] each."""
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=[8, 3])) for _ in range(2)]


def loss_and_gradients(z: tf.Tensor, p: tf.Tensor) -> tuple[float, tf.Tensor | None, tf.Tensor | None]:
    with tf.GradientTape() as tape:
        tape.watch([z, p])
        loss, _ = METHOD.loss(None, (z, p), None, {})
    return (float(loss), *tape.gradient(loss, [z, p]))


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("simsiam", tmp_path, proj_batch_norm="all_plain", predictor_hidden_dim=16)


def test_the_loss_is_the_equations(rows: list[tf.Tensor]) -> None:
    z1, z2, p1, p2 = (half for each in rows for half in np.split(each.numpy(), 2))

    def distance(p: np.ndarray, z: np.ndarray) -> float:
        lengths = np.linalg.norm(p, axis=1) * np.linalg.norm(z, axis=1)
        return -np.mean([np.dot(p[i], z[i]) / lengths[i] for i in range(4)])

    expected = distance(p1, z2) / 2 + distance(p2, z1) / 2
    assert loss_and_gradients(*rows)[0] == pytest.approx(expected, rel=1e-12)


def test_collapsed_rows_give_minus_1_and_orthogonal_ones_0() -> None:
    up, right = tf.constant([[0.0, 2.0]] * 6), tf.constant([[3.0, 0.0]] * 6)
    loss, figures = METHOD.loss(None, (up, 5 * up), None, {})
    assert float(loss) == pytest.approx(-1)
    assert float(figures["projection_std"]) == pytest.approx(0, abs=1e-3)
    assert float(METHOD.loss(None, (up, right), None, {})[0]) == pytest.approx(0)


def test_the_stop_gradient_changes_the_gradient_and_not_the_value(rows: list[tf.Tensor]) -> None:
    loss, by_z, by_p = loss_and_gradients(*rows)
    with mock.patch.object(tf, "stop_gradient", tf.identity):
        without, by_z_without, by_p_without = loss_and_gradients(*rows)
    assert loss == without
    assert by_z is None
    assert by_z_without is not None
    np.testing.assert_array_equal(by_p, by_p_without)


def test_with_an_identity_for_predictor_the_gradient_is_half_the_plain_ones(rows: list[tf.Tensor]) -> None:
    z = rows[0]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        loss, _ = METHOD.loss(None, (z, z), None, {})
        a, b = tf.split(tf.math.l2_normalize(z, axis=1), 2)
        plain = -tf.reduce_mean(tf.reduce_sum(a * b, axis=1))
    assert float(loss) == pytest.approx(float(plain))
    np.testing.assert_allclose(tape.gradient(loss, z), tape.gradient(plain, z) / 2, rtol=1e-6)


def test_encoder_head_and_predictor_are_trained() -> None:
    model = parity.model(method=METHOD)
    model.compile(tf.keras.optimizers.SGD(0.5))
    views = tf.random.stateless_uniform([8, parity.SIDE, parity.SIDE, 3], [3, 4])
    with tf.GradientTape() as tape:
        loss, _ = METHOD.loss(model, model.represent(views, training=True)[1], None, {})
    parts = [model.encoder, model.projection_head, model.state["predictor"]]
    ours = [variable for part in parts for variable in part.trainable_variables]
    assert all(gradient is not None for gradient in tape.gradient(loss, ours))
    classifier = model.classifier.trainable_variables
    assert [id(v) for v in model.trainable_variables] == [id(v) for v in [*ours, *classifier]]


def test_the_predictors_rate_keeps_its_peak() -> None:
    """Against SGD at the constant rate by hand, momentum included."""
    weights = [tf.Variable([1.0, -2.0]) for _ in range(3)]
    gradients = np.random.default_rng(0).normal(size=[6, 2]).astype(np.float32)
    falling = WarmUpCosine(0.5, 6, 2)
    ours, plain, constant = SGD(falling, 0.9), SGD(falling, 0.9), SGD(0.5, 0.9)
    ours.keep_rate([weights[0]])
    for step, gradient in enumerate(gradients):
        if falling(step) > 0:  # at the first step of a warm-up there is no rate to be multiplied
            constant.apply_gradients([(tf.constant(gradient), weights[2])])
        for optimizer, variable in ((ours, weights[0]), (plain, weights[1])):
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-5)
    assert np.all(np.abs(weights[0] - weights[1]) > 1e-2)


def test_only_the_predictor_keeps_its_rate() -> None:
    model = parity.model(method=SimSiam(predictor_hidden_dim=5, fix_predictor_rate=True))
    optimizer = SGD(WarmUpCosine(0.5, 10))
    model.compile(optimizer)
    assert optimizer._kept == {variable.ref() for variable in model.state["predictor"].trainable_variables}
    with pytest.raises(UsageError, match="--optimizer=lars: layers can keep their rate with momentum"):
        model.compile(LARS(0.1))


@pytest.mark.slow
def test_two_replicas_train_as_one_and_known_mistakes_do_not() -> None:
    output = finish(start([str(WORKER), "simsiam"]))
    print(output)
    assert output.count("differ by") == 2


@pytest.mark.slow
def test_without_its_predictor_it_collapses() -> None:
    healthy = 1 / np.sqrt(8)
    assert std_after_training(SimSiam(predictor_hidden_dim=32)) > healthy / 2
    assert std_after_training(SimSiam(predictor_layers=0)) < healthy / 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"predictor_layers": -1}, "--predictor_layers=-1: must be at least 0"),
        ({"predictor_hidden_dim": -2}, "--predictor_hidden_dim=-2: must be at least 0"),
    ],
)
def test_settings_out_of_bounds_are_refused_in_one_line(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Config("pretrain").replace(method="simsiam", **options)
    assert "\n" not in str(error.value)


def test_the_published_networks_are_its_defaults() -> None:
    _, config = flags.parse(pretrain.COMMAND, ["--method=simsiam"])
    head = config.head
    assert (head.num_proj_layers, head.proj_hidden_dim, head.proj_out_dim) == (3, 2048, 2048)
    assert head.proj_batch_norm == "all_plain"
    sizes = config.method.sizes(own=8, images=16, dim=2048, weights=1000, replicas=2)
    assert sizes.state == 3 * sizes.exchanged == 3 * 4 * 2 * 2048 * 512
