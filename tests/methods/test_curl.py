"""CURL against the authors' loss in NumPy; what has a gradient, and when the key encoder moves."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tf_simclr import networks
from tf_simclr.config import flags
from tf_simclr.methods.curl import CURL
from tf_simclr.models import Pretraining, ProjectionHead
from tf_simclr.pretrain import COMMAND

N, SIDE, DIM = 6, 16, 5


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("curl", tmp_path, proj_head_mode="nonlinear")
    stored = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / "ckpt-6"))
    names = stored.get_variable_to_shape_map()
    assert any(name.startswith("model/state/key_encoder/layers/1/") for name in names)
    assert "model/state/bilinear/kernel/.ATTRIBUTES/VARIABLE_VALUE" in names


def model(encoder: tf.keras.Model | None = None, **options: Any) -> Pretraining:
    """Of CURL's encoder, whose last layer normalises, or another."""
    tf.keras.utils.set_random_seed(0)
    encoder = encoder or networks.pixels(dim=DIM, filters=2, layers=1, side=SIDE)
    made = Pretraining(CURL(**options), encoder, ProjectionHead("none"))
    made.compile(tf.keras.optimizers.SGD(0.01), image_size=SIDE)
    return made


def stacks() -> tf.Tensor:
    """View a of N stacks, then view b: [2N, SIDE, SIDE, 3]."""
    return tf.random.stateless_uniform([2 * N, SIDE, SIDE, 3], [1, 2])


def loss_of(made: Pretraining) -> tf.Tensor:
    views = stacks()
    targets = made.method.targets(made, views, training=True)
    _, outputs = made.method.outputs(made, views, training=True)
    return made.method.loss(made, outputs, targets, {})[0]


def authors_loss(q: np.ndarray, w: np.ndarray, k: np.ndarray) -> float:
    """curl_sac.py: compute_logits, then the cross entropy with labels arange(B)."""
    logits = q @ (w @ k.T)
    logits = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean([math.log(sum(np.exp(row))) - row[i] for i, row in enumerate(logits)]))


def test_the_loss_is_the_authors() -> None:
    made = model()
    kernel = made.state["bilinear"].kernel
    assert 0 <= kernel.numpy().min() < 0.3  # torch.rand
    assert 0.7 < kernel.numpy().max() < 1
    q, k = np.split(np.float64(made.encoder(stacks())), 2)  # the key encoder begins as the encoder
    expected = authors_loss(q, np.float64(kernel), k)
    assert float(loss_of(made)) == pytest.approx(expected, rel=1e-5)
    kernel.assign(tf.transpose(kernel))
    assert abs(float(loss_of(made)) - expected) > 1e-4 * expected


def test_taking_off_the_rows_maximum_changes_neither_loss_nor_gradient() -> None:
    q, k, w = (tf.constant(np.random.default_rng(i).normal(size=[DIM, DIM])) for i in range(3))
    gradients = []
    for shifted in (False, True):
        with tf.GradientTape() as tape:
            tape.watch([q, w])
            if shifted:
                logits = q @ w @ tf.transpose(k)
                logits -= tf.reduce_max(logits, axis=1, keepdims=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(DIM), logits)
                value = tf.reduce_mean(losses)
            else:
                value, _ = CURL().loss(SimpleNamespace(), q @ w, k, {})
        gradients.append([value, *tape.gradient(value, [q, w])])
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("normalised", [True, False])
def test_normalised_rows_do_not_see_a_constant_in_w(normalised: bool) -> None:
    """Layer norm's rows add up to 0; others tell W from W - 1/2."""
    made = model(None if normalised else tf.keras.Sequential([tf.keras.layers.Flatten()]))
    kernel, views, found = made.state["bilinear"].kernel, stacks(), []
    for constant in (0.0, 0.5):
        kernel.assign_sub(tf.fill(kernel.shape, constant))
        found.append(made.method.outputs(made, views, False)[1] @ tf.transpose(made.encoder(views)[:N]))
    assert np.allclose(*found, rtol=0, atol=1e-4) == normalised


def test_collapsed_it_is_the_logarithm_of_the_batch() -> None:
    same = tf.ones([N, DIM])
    value, figures = CURL().loss(None, same, same, {})
    assert float(value) == pytest.approx(math.log(N), rel=1e-6)
    assert float(figures["contrastive_entropy"]) == pytest.approx(math.log(N), rel=1e-6)


def test_query_and_w_have_a_gradient_and_keys_have_none() -> None:
    made = model()
    keys = made.state["key_encoder"].layers[0].trainable_variables
    with tf.GradientTape() as tape:
        value = loss_of(made)
    own, of_keys = tape.gradient(value, [made.trainable_variables, keys])
    assert any(variable is made.state["bilinear"].kernel for variable in made.trainable_variables)
    assert all(np.any(d) for d in own)
    assert len(own) == len(keys) + 1
    assert {d is None for d in of_keys} == {True}


def test_the_key_encoder_moves_by_tau_after_every_second_step() -> None:
    made = model(encoder_tau=0.25)
    views = tf.stack(tf.split(stacks(), 2), axis=1)
    batch = tf.data.Dataset.from_tensors({"views": views})
    query, key = (part.trainable_variables for part in (made.encoder, made.state["key_encoder"].layers[0]))
    before = [variable.numpy() for variable in key]
    made.fit(batch, verbose=0)
    for variable, was in zip(key, before, strict=True):
        np.testing.assert_array_equal(variable, was)
    made.fit(batch, verbose=0)
    for variable, was, own in zip(key, before, query, strict=True):
        np.testing.assert_allclose(variable, 0.75 * was + 0.25 * own.numpy(), rtol=1e-6, atol=1e-8)
    assert not np.array_equal(key[0], before[0])


def test_its_settings_are_the_authors() -> None:
    config = flags.parse(COMMAND, ["--method=curl", "--train_epochs=1"])[1]
    assert (config.method.encoder_tau, config.method.key_update_steps) == (0.05, 2)
    train = config.optimization
    assert (train.optimizer, train.learning_rate, train.train_batch_size) == ("adam", 1e-3, 128)
    encoder = networks.KerasEncoder(config.encoder.encoder, config.data.image_size, channels=9)
    assert encoder.network.layers[4].output_shape[1:] == (35, 35, 32)
    assert encoder.output_dim == 50


def test_sizes_count_the_similarities_and_the_second_encoder() -> None:
    found = CURL().sizes(64, 128, 50, 1000, 2)
    assert found.state == 1000 + 4 * 4 * 50 * 50
    assert found.loss > 4 * 64 * 128
    assert CURL().sizes(128, 128, 50, 1000, 1).exchanged == 0
