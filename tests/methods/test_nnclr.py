"""NNCLR against its equation, by loops; what has gradient; its queue; two replicas."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.processes import finish, start
from tf_simclr.checks import parity
from tf_simclr.errors import UsageError
from tf_simclr.methods.nnclr import NNCLR
from tf_simclr.methods.state import Queue
from tf_simclr.models import Pretraining

WORKER = Path(__file__).with_name("neighbour_worker.py")
N, P, Q = 6, 6, 24


@pytest.mark.slow
def test_nnclr_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("nnclr", tmp_path, queue_size=64, predictor_hidden_dim=16)


@pytest.mark.parametrize("both_terms", [True, False])
def test_the_loss_is_the_equation(both_terms: bool) -> None:
    z, p, rows = _random(2 * N, 1), _random(2 * N, 2), _random(Q, 3)
    loss, figures = _loss(NNCLR(temperature=0.3, contrast_neighbours=both_terms), z, p, rows)
    assert float(loss) == pytest.approx(_by_loops(z, p, rows, 0.3, both_terms), rel=1e-5)
    assert float(figures["contrastive_loss"]) == float(loss)


def _by_loops(z: np.ndarray, p: np.ndarray, rows: np.ndarray, tau: float, both_terms: bool) -> float:
    """Sec. 3.2: -log e^(nn_i p_i / tau) / sum_k e^(nn_i p_k / tau), and over nn_k for p_i."""
    z, p, rows = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, p, rows))
    nearest = np.stack([rows[np.argmin([np.sum((v - row) ** 2) for row in rows])] for v in z])
    losses = []
    for neighbours, predictions in ((nearest[:N], p[N:]), (nearest[N:], p[:N])):
        for i in range(N):
            own = math.exp(neighbours[i] @ predictions[i] / tau)
            loss = -math.log(own / sum(math.exp(neighbours[i] @ q / tau) for q in predictions))
            if both_terms:
                loss -= math.log(own / sum(math.exp(q @ predictions[i] / tau) for q in neighbours))
            losses.append(loss)
    return float(np.mean(losses))


def test_where_the_queue_holds_z_itself_it_is_info_nce_with_z_stopped() -> None:
    z, p = _random(2 * N, 1), _random(2 * N, 2)
    method = NNCLR(temperature=0.3, contrast_neighbours=False)
    p_variable = tf.Variable(p)
    with tf.GradientTape(persistent=True) as tape:
        loss, figures = _loss(method, z, p_variable, np.concatenate([z, -z]))
        unit_z = tf.stop_gradient(tf.math.l2_normalize(z, axis=1))
        logits = tf.matmul(unit_z, tf.math.l2_normalize(p_variable, axis=1), transpose_b=True) / 0.3
        a_to_b, b_to_a = logits[:N, N:], logits[N:, :N]
        info_nce = tf.reduce_mean(
            [tf.reduce_logsumexp(s, axis=1) - tf.linalg.diag_part(s) for s in (a_to_b, b_to_a)]
        )
    assert float(loss) == pytest.approx(float(info_nce), rel=1e-6)
    np.testing.assert_allclose(
        tape.gradient(loss, p_variable), tape.gradient(info_nce, p_variable), rtol=1e-4, atol=1e-7
    )
    assert float(figures["neighbour_similarity"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("both_terms", "times"), [(False, 1), (True, 2)])
def test_collapsed_it_is_log_n_for_each_term(both_terms: bool, times: int) -> None:
    ones = np.ones([2 * N, P], np.float32)
    loss, _ = _loss(NNCLR(contrast_neighbours=both_terms), ones, ones, _random(Q, 3))
    assert float(loss) == pytest.approx(times * math.log(N), rel=1e-6)


def test_the_accuracy_counts_neighbours_that_find_their_prediction() -> None:
    z = np.eye(N, P + 2, dtype=np.float32)
    p = np.roll(z, 1, axis=0)  # every prediction is of another image
    p[0] = z[0]
    _, figures = _loss(NNCLR(), np.concatenate([z, z]), np.concatenate([p, z]), np.concatenate([z, -z]))
    assert float(figures["contrastive_accuracy"]) == pytest.approx((N + 1) / (2 * N))


def test_gradient_reaches_what_predicts_and_no_neighbour() -> None:
    model = _model()
    z, p, queue = tf.constant(_random(12, 1)), tf.constant(_random(12, 2)), model.state["queue"]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z, p, queue.rows])
        loss, _ = model.method.loss(model, (z, p), None, {})
    assert tape.gradient(loss, z) is None
    assert tape.gradient(loss, queue.rows) is None
    assert np.all(np.linalg.norm(tape.gradient(loss, p), axis=1) > 0)
    images = tf.random.stateless_uniform([12, 8, 8, 3], [1, 2])
    with tf.GradientTape() as tape:
        _, outputs = model.represent(images, training=True)
        loss, _ = model.method.loss(model, outputs, None, {})
    trained = model.trainable_variables
    assert all(gradient is not None for gradient in tape.gradient(loss, trained))
    assert {id(v) for v in model.state["predictor"].trainable_variables} <= {id(v) for v in trained}
    assert id(queue.rows) not in {id(v) for v in trained}


def test_view_a_enters_the_queue_after_its_neighbours_were_sought() -> None:
    model = _model()
    model.compile(tf.keras.optimizers.SGD(0.0))  # what is encoded stays what it was
    expected = model.state["queue"].rows.numpy()
    for step in range(3):
        views = tf.random.stateless_uniform([6, 2, 8, 8, 3], [step, 2])
        a_then_b = tf.concat([views[:, 0], views[:, 1]], axis=0)
        z = tf.math.l2_normalize(model.represent(a_then_b, training=True)[1][0], axis=1).numpy()
        similarity = np.max(z @ expected.T, axis=1).mean()
        history = model.fit(tf.data.Dataset.from_tensors({"views": views}), verbose=0).history
        assert history["neighbour_similarity"] == [pytest.approx(similarity, rel=1e-4)]
        place = 6 * step % 12
        expected[place : place + 6] = z[:6]
        np.testing.assert_allclose(model.state["queue"].rows, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_replicas_train_as_one_and_mistakes_are_seen() -> None:
    output = finish(start([str(WORKER), "nnclr"]))
    print(output)
    assert output.count("differs") == 5


@pytest.mark.parametrize(("own_images", "replicas"), [(10, 1), (4, 4)])
def test_a_queue_that_batches_do_not_fill_evenly_is_refused(own_images: int, replicas: int) -> None:
    batch = own_images * replicas
    with pytest.raises(UsageError, match=f"--queue_size=24: must be a multiple of the {batch} ") as error:
        NNCLR(queue_size=24).check(own_images, replicas)
    assert "\n" not in str(error.value)
    NNCLR(queue_size=24).check(6, 2)


def test_its_sizes_are_those_of_its_state() -> None:
    sizes = NNCLR(queue_size=12, predictor_hidden_dim=7).sizes(6, 12, 6, weights=0, replicas=2)
    model = _model()
    kernels = [v for v in model.state["predictor"].trainable_variables if v.shape.rank > 1]
    floats = model.state["queue"].rows.shape.num_elements() + 3 * sum(v.shape.num_elements() for v in kernels)
    assert sizes.state == 4 * floats
    assert sizes.exchanged > 0


def _model() -> Pretraining:
    model = parity.model(method=NNCLR(queue_size=12, predictor_hidden_dim=7, temperature=0.3))
    model.classifier = None
    model.compile(tf.keras.optimizers.SGD(0.1))
    return model


def _loss(method: NNCLR, z: Any, p: Any, rows: np.ndarray) -> Any:
    queue = Queue(len(rows), rows.shape[1])
    queue.rows.assign(tf.math.l2_normalize(rows, axis=1))
    model = SimpleNamespace(state={"queue": queue})
    return method.loss(model, (tf.convert_to_tensor(z), tf.convert_to_tensor(p)), None, {})


def _random(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[rows, P]).astype(np.float32)
