"""MoCo against its equations in loops and the authors' step by hand; what moves, and what has no gradient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.processes import finish, start
from tf_simclr.checks import parity
from tf_simclr.errors import UsageError
from tf_simclr.methods.moco import MoCo
from tf_simclr.models import Pretraining

WORKER = Path(__file__).with_name("contrast_worker.py")
V2 = {"queue_size": 64, "key_momentum": 0.9}
V3 = {
    "queue_size": 0,
    "symmetric": True,
    "predictor_hidden_dim": 5,
    "key_momentum": 0.9,
    "key_momentum_cosine": True,
    "temperature": 0.3,
}
STEPS, RATE = 3, 0.5


@pytest.fixture
def float64() -> Iterator[None]:
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")


def unit(rows: Any) -> np.ndarray:
    rows = np.asarray(rows)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + shape[0]).normal(size=shape)


def loss(method: MoCo, q: np.ndarray, k: np.ndarray, queue: np.ndarray | None = None) -> dict[str, float]:
    rows = None if queue is None else SimpleNamespace(rows=tf.constant(queue))
    value, figures = method.loss(SimpleNamespace(state={"queue": rows}), tf.constant(q), tf.constant(k), {})
    assert value == figures["contrastive_loss"]
    return {name: float(figure) for name, figure in figures.items()}


def cross_entropy(q: np.ndarray, key: np.ndarray, candidates: np.ndarray, temperature: float) -> float:
    return math.log(sum(math.exp(q @ c / temperature) for c in candidates)) - q @ key / temperature


@pytest.mark.parametrize(("name", "options"), [("v2", V2), ("v3", V3)], ids=["v2", "v3"])
@pytest.mark.slow
def test_it_stands_what_every_method_must(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    run_method_test("moco", tmp_path, **options)
    stored = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / "ckpt-6"))
    names = stored.get_variable_to_shape_map()
    assert any(name.startswith("model/state/key_encoder/layers/1/") for name in names)
    assert any(name.startswith("model/state/predictor/") for name in names) == (name == "v3")
    assert ("model/state/queue/rows/.ATTRIBUTES/VARIABLE_VALUE" in names) == (name == "v2")


def test_v2_is_eq_1() -> None:
    q, k, queue = random_rows(4, 3), unit(random_rows(5, 3)[:4]), unit(random_rows(12, 3))
    found = loss(MoCo(0.2, queue_size=12), q, k, queue)
    q = unit(q)
    losses = [cross_entropy(q[i], k[i], np.stack([k[i], *queue]), 0.2) for i in range(4)]
    assert found["contrastive_loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    nearest = [q[i] @ k[i] >= max(queue @ q[i]) for i in range(4)]
    assert found["contrastive_accuracy"] == pytest.approx(np.mean(nearest))
    assert found["positive_similarity"] == pytest.approx(np.mean(np.sum(q * k, axis=1)), rel=1e-12)
    assert found["negative_similarity"] == pytest.approx(np.mean(queue @ q.T), rel=1e-12)


def test_both_directions_of_v2_add_up() -> None:
    q, k, queue = random_rows(8, 3), unit(random_rows(9, 3)[:8]), unit(random_rows(12, 3))
    found = loss(MoCo(0.2, queue_size=12, symmetric=True), q, k, queue)
    one = [loss(MoCo(0.2, queue_size=12), q[i : i + 4], k[i : i + 4], queue) for i in (0, 4)]
    for name, value in found.items():
        parts = [direction[name] for direction in one]
        expected = sum(parts) if name == "contrastive_loss" else np.mean(parts)
        assert value == pytest.approx(expected, rel=1e-12), name


def test_v3_is_its_algorithm_1() -> None:
    """2 tau ctr(q1, k2) + 2 tau ctr(q2, k1): among the other view's keys, the own view is no candidate."""
    q, k, tau = random_rows(8, 3), unit(random_rows(9, 3)[:8]), 0.3
    found = loss(MoCo(tau, queue_size=0, symmetric=True), q, k)
    q = unit(q)
    directions = [(q[:4], k[:4]), (q[4:], k[4:])]
    losses = [[cross_entropy(qs[i], ks[i], ks, tau) for i in range(4)] for qs, ks in directions]
    assert found["contrastive_loss"] == pytest.approx(2 * tau * np.sum(np.mean(losses, axis=1)), rel=1e-12)
    nearest = [np.argmax(ks @ qs[i]) == i for qs, ks in directions for i in range(4)]
    assert found["contrastive_accuracy"] == pytest.approx(np.mean(nearest))
    others = [[qs[i] @ ks[j] for i in range(4) for j in range(4) if i != j] for qs, ks in directions]
    assert found["negative_similarity"] == pytest.approx(np.mean(others), rel=1e-12)


def test_collapsed_it_is_the_logarithm_of_the_candidates() -> None:
    same = np.ones([8, 3])
    v2 = loss(MoCo(queue_size=4096), same, unit(same), unit(np.ones([4096, 3])))
    assert v2["contrastive_loss"] == pytest.approx(math.log(4097), rel=1e-6)  # 8.318
    v3 = loss(MoCo(0.2, queue_size=0, symmetric=True), same, unit(same))
    assert v3["contrastive_loss"] == pytest.approx(2 * 2 * 0.2 * math.log(4), rel=1e-6)
    for found in (v2, v3):
        assert found["positive_similarity"] == pytest.approx(found["negative_similarity"])


def test_before_real_keys_come_it_is_low() -> None:
    """A random queue is far from every query: at tau 0.1, K 4096, d 128, q.k 0.9 to 1: 0.24 to 0.56."""
    q = unit(random_rows(32, 128))
    aside = random_rows(33, 128)[:32]
    aside = unit(aside - np.sum(aside * q, axis=1, keepdims=True) * q)
    k = 0.95 * q + math.sqrt(1 - 0.95**2) * aside
    found = loss(MoCo(0.1, queue_size=4096), q, k, unit(random_rows(4096, 128)))
    assert 0.24 < found["contrastive_loss"] < 0.56


def model(method: MoCo) -> Pretraining:
    made = parity.model(method=method)
    made.compile(tf.keras.optimizers.SGD(RATE))
    return made


def batches() -> list[dict[str, tf.Tensor]]:
    rng = np.random.default_rng(0)
    views = rng.uniform(size=[STEPS, parity.IMAGES, 2, parity.SIDE, parity.SIDE, 3]).astype(np.float32)
    labels = tf.zeros([parity.IMAGES], tf.int32)
    return [{"views": tf.constant(pair), "label": labels} for pair in views]


def trained(method: MoCo) -> dict[str, np.ndarray]:
    """What STEPS steps leave."""
    made = model(method)
    for batch in batches():
        made.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    return left(made, np.asarray(made.state["queue"].rows) if method.queue_size else None)


def left(made: Pretraining, queue: np.ndarray | None) -> dict[str, np.ndarray]:
    parts = {"query": made.method.trained(made), "key": made.state["key_encoder"].layers}
    found = {
        f"{name} {part} {i}": variable.numpy()
        for name, layers in parts.items()
        for part, layer in enumerate(layers)
        for i, variable in enumerate(layer.variables)
    }
    return found if queue is None else {**found, "queue": queue}


def by_hand(method: MoCo) -> dict[str, np.ndarray]:
    """The authors' order: key <- m key + (1 - m) query, keys, the loss with the old queue, queue, step."""
    made = model(method)
    key, query = made.state["key_encoder"].layers, made.method.trained(made)
    queue = np.asarray(made.state["queue"].rows) if method.queue_size else None
    for step, batch in enumerate(batches()):
        move(method, key, query, step)
        a, b = batch["views"][:, 0], batch["views"][:, 1]
        both = method.symmetric
        keys = tf.math.l2_normalize(encode(key, tf.concat([b, a], 0) if both else b), axis=1)
        with tf.GradientTape() as tape:
            q = tf.math.l2_normalize(encode(query, tf.concat([a, b], 0) if both else a), axis=1)
            total = 0.0
            for own, theirs in zip(tf.split(q, 1 + both), tf.split(keys, 1 + both), strict=True):
                logits = tf.matmul(own, theirs, transpose_b=True)
                positive = tf.linalg.diag_part(logits)[:, tf.newaxis]
                if queue is not None:
                    logits = tf.concat([positive, own @ queue.T], axis=1)
                terms = (
                    tf.reduce_logsumexp(logits / method.temperature, 1) - positive[:, 0] / method.temperature
                )
                total += tf.reduce_mean(terms) * (1 if queue is not None else 2 * method.temperature)
        variables = [variable for part in query for variable in part.trainable_variables]
        if queue is not None:
            for part in tf.split(keys, 1 + both):
                queue = np.concatenate([queue[len(part) :], part])  # oldest first
        for variable, d in zip(variables, tape.gradient(total, variables), strict=True):
            variable.assign_sub(RATE * d)
    move(method, key, query, STEPS)  # ours has this done already
    pushed = STEPS * parity.IMAGES * (1 + method.symmetric)
    return left(made, None if queue is None else np.roll(queue, pushed, axis=0))


def encode(layers: list[Any], images: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        images = layer(images, training=True)
    return images


def move(method: MoCo, key: list[Any], query: list[Any], step: int) -> None:
    m = method.key_momentum
    if method.key_momentum_cosine:
        m = 1 - (1 - m) * (1 + math.cos(math.pi * step / STEPS)) / 2
    for slow, fast in zip(key, query, strict=False):  # not the predictor
        for average, variable in zip(slow.trainable_variables, fast.trainable_variables, strict=True):
            average.assign(m * average + (1 - m) * variable)


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray], kind: str = "") -> float:
    assert one.keys() == other.keys()
    names = [name for name in one if name.startswith(kind)]
    return max(norm(one[name] - other[name]) / max(norm(other[name]), 1e-9) for name in names)


def norm(value: np.ndarray) -> float:
    return float(np.linalg.norm(np.ravel(value)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("options", [V2, {**V2, "queue_size": 96, "symmetric": True}, V3])
def test_steps_are_the_authors(options: dict[str, Any]) -> None:
    method = MoCo(**options)
    assert distance(trained(method), by_hand(method)) < 1e-5


@dataclasses.dataclass(frozen=True)
class MovedTooLate(MoCo):
    """The key encoder follows after the keys are made."""

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        keys = super().targets(model, views, training)
        model.state["key_encoder"].update(self.key_momentum)
        return keys

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        model.state["queue"].push(targets)


@dataclasses.dataclass(frozen=True)
class QueuedTooEarly(MoCo):
    """The keys of a step are among its negatives."""

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        keys = super().targets(model, views, training)
        model.state["queue"].push(keys)
        return keys

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        model.state["key_encoder"].update(self.key_momentum)


@dataclasses.dataclass(frozen=True)
class KeysInInference(MoCo):
    """The key encoder normalises by moving statistics."""

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        return super().targets(model, views, training=False)


@dataclasses.dataclass(frozen=True)
class BothViewsAsk(MoCo):
    """View b goes through the query encoder, too, whose batch norm sees it."""

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> Any:
        h = model.encoder(views, training=training)
        return tf.split(h, 2)[0], tf.split(model.projection_head(h, training=training), 2)[0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mistaken", [MovedTooLate, QueuedTooEarly, KeysInInference, BothViewsAsk])
def test_mistakes_in_a_step_show(mistaken: type[MoCo]) -> None:
    expected = by_hand(MoCo(**V2))
    assert distance(trained(mistaken(**V2)), expected, "q") > 1e-3  # queue and query weights


def gradients(method: MoCo) -> dict[str, list[Any]]:
    made = model(method)
    views = tf.concat([batches()[0]["views"][:, view] for view in range(2)], axis=0)
    with tf.GradientTape() as tape:
        targets = method.targets(made, views, True)
        _, outputs = method.outputs(made, views, True)
        value, _ = method.loss(made, outputs, targets, {})
    variables = {
        "trained": [v for part in method.trained(made) for v in part.trainable_variables],
        "key encoder": [v for layer in made.state["key_encoder"].layers for v in layer.trainable_variables],
        "queue": list(made.state["queue"].variables) if method.queue_size else [],
    }
    moved = {id(variable) for variable in made.trainable_variables}
    assert moved >= {id(v) for v in variables["trained"]}
    assert not moved & {id(v) for name in ("key encoder", "queue") for v in variables[name]}
    return tape.gradient(value, variables)


@pytest.mark.parametrize("options", [V2, V3])
def test_queries_alone_have_a_gradient(options: dict[str, Any]) -> None:
    found = gradients(MoCo(**options))
    assert all(np.any(d) for d in found["trained"])
    assert len(found["trained"]) == len(found["key encoder"]) + (5 if options is V3 else 0)
    assert {d is None for name in ("key encoder", "queue") for d in found[name]} == {True}
    with mock.patch.object(tf, "stop_gradient", tf.identity):
        assert not any(d is None for d in gradients(MoCo(**options))["key encoder"])


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.99), (250, 1 - 0.01 * (1 + math.cos(math.pi / 4)) / 2), (500, 0.995), (1000, 1)]
)
def test_the_share_that_the_key_encoder_keeps(step: int, share: float) -> None:
    cosine = MoCo(key_momentum=0.99, key_momentum_cosine=True)
    assert float(cosine.momentum_at(step, 1000)) == pytest.approx(share, rel=1e-6)
    assert cosine.momentum_at(step, 0) == 0.99
    assert MoCo().momentum_at(step, 1000) == 0.999


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"queue_size": 100},
            "--queue_size=100: must be a multiple of the 64 keys a step, those of one view",
        ),
        ({"queue_size": 64, "symmetric": True}, "of the 128 keys a step, those of both views of 64 images"),
    ],
)
def test_a_queue_that_keys_do_not_fill_evenly_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        MoCo(**options).check(16, replicas=4)
    assert "\n" not in str(error.value)
    MoCo(queue_size=128).check(16, replicas=4)
    MoCo(queue_size=0, symmetric=True).check(16, replicas=4)


@pytest.mark.slow
def test_mistakes_between_replicas_break_parity() -> None:
    output = finish(start([str(WORKER), "moco"]))
    assert output.count("local keys") == 3


def test_sizes_count_the_queue_and_the_second_encoder() -> None:
    v2, v3 = MoCo(queue_size=65536), MoCo(queue_size=0, symmetric=True, predictor_hidden_dim=4096)
    assert v2.sizes(32, 256, 128, 1000, 8).state == 1000 + 4 * 65536 * 128  # 32 MiB
    assert v2.sizes(32, 256, 128, 1000, 1).exchanged == 0
    assert v3.sizes(32, 256, 256, 1000, 8).state == 1000 + 4 * 3 * 2 * 256 * 4096
