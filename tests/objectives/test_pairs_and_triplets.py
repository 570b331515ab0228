"""The objectives beside NT-Xent against their equations, closed forms and other libraries."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import finish, start
from tf_simclr import objectives
from tf_simclr.errors import UsageError
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.objectives import Contrast

TAU = 0.3
Oracle = Callable[[np.ndarray], float]


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def dot(u: np.ndarray, v: np.ndarray) -> float:
    return float(sum(a * b for a, b in zip(u, v, strict=True)))


def squared(u: np.ndarray, v: np.ndarray) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)))


def opposite(z: np.ndarray, i: int) -> list[int]:
    """Rows of the other kind of view, of other images than row i's."""
    n = len(z) // 2
    return [k for k in range(2 * n) if k // n != i // n and k % n != i % n]


def others(z: np.ndarray, i: int) -> list[int]:
    """Rows of other images."""
    n = len(z) // 2
    return [k for k in range(2 * n) if k % n != i % n]


def mean_over_anchors(z: np.ndarray, loss: Callable[[int, int], float]) -> float:
    n = len(z) // 2
    return sum(loss(i, (i + n) % (2 * n)) for i in range(2 * n)) / (2 * n)


def over(terms: dict[int, float], distance: dict[int, float], positive: float, margin: float | None) -> float:
    """The mean of the terms; with a margin that of the closest between the positive and the margin, or 0."""
    if margin is None:
        return sum(terms.values()) / len(terms)
    semi_hard = [k for k in terms if positive < distance[k] < positive + margin]
    return terms[min(semi_hard, key=distance.__getitem__)] if semi_hard else 0.0


def nt_logistic(z: np.ndarray, semi_hard: bool) -> float:
    z = unit(z)

    def loss(i: int, p: int) -> float:
        terms = {k: math.log(1 + math.exp(dot(z[i], z[k]) / TAU)) for k in opposite(z, i)}
        distance = {k: -dot(z[i], z[k]) for k in terms}
        repulsion = over(terms, distance, -dot(z[i], z[p]), math.inf if semi_hard else None)
        return math.log(1 + math.exp(-dot(z[i], z[p]) / TAU)) + repulsion

    return mean_over_anchors(z, loss)


def margin_triplet(z: np.ndarray, semi_hard: bool, margin: float) -> float:
    z = unit(z)

    def loss(i: int, p: int) -> float:
        distance = {k: -dot(z[i], z[k]) for k in opposite(z, i)}
        positive = -dot(z[i], z[p])
        terms = {k: max(positive - distance[k] + margin, 0) for k in distance}
        return over(terms, distance, positive, margin if semi_hard else None)

    return mean_over_anchors(z, loss)


def triplet(z: np.ndarray, semi_hard: bool, margin: float) -> float:
    z = unit(z)

    def loss(i: int, p: int) -> float:
        distance = {k: squared(z[i], z[k]) for k in others(z, i)}
        positive = squared(z[i], z[p])
        terms = {k: max(positive - distance[k] + margin, 0) for k in distance}
        return over(terms, distance, positive, margin if semi_hard else None)

    return mean_over_anchors(z, loss)


def max_margin(z: np.ndarray, margin: float) -> float:
    z = unit(z)

    def loss(i: int, p: int) -> float:
        terms = [max(margin - math.sqrt(squared(z[i], z[k])), 0) ** 2 for k in others(z, i)]
        return squared(z[i], z[p]) + sum(terms) / len(terms)

    return mean_over_anchors(z, loss)


def info_nce(z: np.ndarray) -> float:
    return _found_by_view_a(unit(z), TAU)


def n_pair(z: np.ndarray, l2_weight: float) -> float:
    length = sum(dot(row, row) for row in z) / len(z)
    return _found_by_view_a(z, 1.0) + l2_weight * length / 2


def _found_by_view_a(z: np.ndarray, temperature: float) -> float:
    n = len(z) // 2
    views = range(n, 2 * n)
    products = [{k: dot(z[i], z[k]) / temperature for k in views} for i in range(n)]
    losses = (math.log(sum(math.exp(own[k] - own[n + i]) for k in views)) for i, own in enumerate(products))
    return sum(losses) / n


CASES: dict[str, tuple[str, str, Oracle]] = {
    "nt_logistic": ("nt_logistic", "all", functools.partial(nt_logistic, semi_hard=False)),
    "nt_logistic_semi": ("nt_logistic", "semi_hard", functools.partial(nt_logistic, semi_hard=True)),
    "margin_triplet": (
        "margin_triplet(margin=0.4)",
        "all",
        functools.partial(margin_triplet, semi_hard=False, margin=0.4),
    ),
    "margin_triplet_semi": (
        "margin_triplet(margin=0.4)",
        "semi_hard",
        functools.partial(margin_triplet, semi_hard=True, margin=0.4),
    ),
    "triplet": ("triplet", "all", functools.partial(triplet, semi_hard=False, margin=0.2)),
    "triplet_semi": (
        "triplet(margin=0.5)",
        "semi_hard",
        functools.partial(triplet, semi_hard=True, margin=0.5),
    ),
    "max_margin": ("max_margin(margin=1.2)", "all", functools.partial(max_margin, margin=1.2)),
    "info_nce": ("info_nce", "all", info_nce),
    "n_pair": ("n_pair(l2_weight=0.1)", "all", functools.partial(n_pair, l2_weight=0.1)),
}
EVERY = pytest.mark.parametrize("case", CASES)


def projections(n: int = 6, d: int = 3, seed: int = 0) -> np.ndarray:
    """Views that are alike, as those of an encoder are after some training."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=[n, d])
    return np.concatenate([image, image + 0.5 * rng.normal(size=[n, d])])


def contrast(case: str, z: Any) -> Contrast:
    objective, negatives, _ = CASES[case]
    method = SimCLR(objective=objective, negatives=negatives, temperature=TAU)
    loss, figures = method.loss(None, tf.convert_to_tensor(z), None, {})
    assert loss is figures["contrastive_loss"]
    return Contrast(*figures.values())


def value_and_gradient(case: str, z: np.ndarray) -> tuple[float, np.ndarray]:
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = contrast(case, z).loss
    return float(loss), tape.gradient(loss, z).numpy()


@EVERY
def test_equals_its_equation(case: str) -> None:
    for seed in range(4):
        z = projections(seed=seed)
        np.testing.assert_allclose(contrast(case, z).loss, CASES[case][2](z), rtol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith("_semi")])
def test_the_examples_have_anchors_with_and_without_semi_hard_negatives(case: str) -> None:
    objective, _, oracle = CASES[case]
    every = CASES[case.removesuffix("_semi")][2]
    assert oracle(projections()) != every(projections())
    far = np.concatenate([np.eye(3), np.eye(3)])  # all negatives are beyond any of these margins
    if "triplet" in objective:
        assert float(contrast(case, far).loss) == oracle(far) == 0.0


@EVERY
def test_gradient_is_the_numerical_one(case: str) -> None:
    z, direction = projections(seed=1), projections(seed=2)
    _, gradient = value_and_gradient(case, z)
    up, down = (float(contrast(case, z + step * direction).loss) for step in (1e-6, -1e-6))
    assert abs((gradient * direction).sum()) > 1e-3
    np.testing.assert_allclose((gradient * direction).sum(), (up - down) / 2e-6, rtol=1e-6)


@EVERY
def test_figures_are_those_of_retrieval(case: str) -> None:
    """Accuracy and entropy mean what NT-Xent's mean; N-pairs compare by inner product at temperature 1."""
    z = projections(n=9)
    raw = case == "n_pair"
    expected = objectives.nt_xent(tf.constant(z), 1.0 if raw else TAU, l2_normalize=not raw)
    np.testing.assert_allclose(contrast(case, z)[1:], expected[1:], rtol=1e-12)
    assert 0 < float(expected.contrastive_accuracy) < 1


@EVERY
def test_zero_and_equal_projections_have_a_finite_gradient(case: str) -> None:
    for z in (np.zeros([8, 3], np.float32), np.ones([8, 3], np.float32)):
        loss, gradient = value_and_gradient(case, z)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()


@EVERY
def test_16_bit_projections_are_computed_in_float32(case: str) -> None:
    z = tf.cast(projections(), tf.bfloat16)
    result = contrast(case, z)
    assert {scalar.dtype.name for scalar in result} == {"float32"}
    np.testing.assert_allclose(result.loss, contrast(case, tf.cast(z, tf.float64)).loss, rtol=1e-4)


@EVERY
def test_compiled_batches_of_unknown_size_equal_eager_ones(case: str) -> None:
    traced = tf.function(functools.partial(contrast, case), [tf.TensorSpec([None, 3], tf.float64)])
    for n in (2, 5):
        z = projections(n)
        np.testing.assert_allclose(traced(z), contrast(case, z), rtol=1e-12)


def test_equal_projections_give_closed_forms() -> None:
    z = np.ones([8, 3])
    assert float(contrast("info_nce", z).loss) == pytest.approx(math.log(4))
    assert float(contrast("margin_triplet", z).loss) == pytest.approx(0.4)
    assert float(contrast("triplet", z).loss) == pytest.approx(0.2)
    assert float(contrast("max_margin", z).loss) == pytest.approx(1.2**2, rel=1e-2)
    assert float(contrast("nt_logistic_semi", z).loss) == pytest.approx(math.log(1 + math.exp(-1 / TAU)))


def test_info_nce_is_the_part_of_nt_xent_that_is_left_by_one_direction() -> None:
    """Where views of one kind are orthogonal to each other they add exp(0) each to the denominator."""
    z = np.concatenate([np.eye(4), np.eye(4)])
    one, both = (float(objectives.find(name)(tf.constant(z), TAU).loss) for name in ("info_nce", "nt_xent"))
    assert 2 * math.log(math.exp(one) + 3 * math.exp(-1 / TAU)) == pytest.approx(both)


def test_losses_of_tensorflow_addons_are_the_same() -> None:
    losses = pytest.importorskip("tensorflow_addons").losses
    z = unit(projections(n=7, seed=3)).astype(np.float32)
    images = np.tile(np.arange(7), 2)
    squared_distance = ((z[:, None] - z) ** 2).sum(-1)
    is_pair = (images[:, None] == images) & ~np.eye(14, dtype=bool)
    is_other = images[:, None] != images

    farther = is_other & (squared_distance > (squared_distance * is_pair).sum(1, keepdims=True))
    assert farther.any(1).all()  # where there is none Addons takes the farthest, Sec. 5.1 leaves it out
    theirs = losses.triplet_semihard_loss(images, z, margin=0.5, distance_metric="squared-L2")
    np.testing.assert_allclose(contrast("triplet_semi", z).loss, theirs, rtol=1e-5)

    def of_pairs(chosen: np.ndarray, label: float) -> float:
        distance = np.sqrt(squared_distance[chosen])
        return np.mean(losses.contrastive_loss(np.full(distance.shape, label), distance, margin=1.2))

    theirs = of_pairs(is_pair, 1.0) + of_pairs(is_other, 0.0)
    np.testing.assert_allclose(contrast("max_margin", z).loss, theirs, rtol=1e-5)

    plain = objectives.find("n_pair")(tf.constant(z), l2_weight=0.0)
    np.testing.assert_allclose(plain.loss, losses.npairs_loss(np.arange(7), z[:7] @ z[7:].T), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "margin_triplet(margin=-1)"}, "margin=-1: give a number of 0 or more"),
        (
            {"objective": "triplet(margin=0)", "negatives": "semi_hard"},
            "margin=0: no negative lies within it",
        ),
        ({"objective": "max_margin(margin='wide')"}, "margin='wide': give a number of 0 or more"),
        ({"objective": "triplet(size=1)"}, r"--objective=triplet\(size=1\): .*unexpected keyword"),
        ({"objective": "n_pair(l2_weight=-1)"}, "l2_weight=-1: give a number of 0 or more"),
        ({"objective": "info_nce(temperature=1.0)"}, "temperature is the flag --temperature"),
        ({"objective": "triplet(0.5)"}, r"--objective=triplet\(0.5\): give NAME"),
        ({"objective": "triplet", "loss_block_size": 4}, "--loss_block_size=4: --objective=triplet has no"),
        ({"negatives": "semi_hard"}, "--negatives=semi_hard: --objective=nt_xent has no such choice"),
    ],
)
def test_options_that_an_objective_does_not_take_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        SimCLR(**options).check(8)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_replicas_train_as_one() -> None:
    worker = "tests/objectives/parity_worker.py"
    output = finish(
        start([worker, *(f"{objective}|{negatives}" for objective, negatives, _ in CASES.values())])
    )
    assert output.count("parity holds") == len(CASES)
    assert output.count("the negatives of a replica alone differ") == len(CASES)


@pytest.mark.slow
def test_the_doctor_takes_an_objective() -> None:
    flags = ["--objective=margin_triplet(margin=0.4)", "--negatives=semi_hard"]
    assert "parity holds" in finish(start(["-m", "tf_simclr.doctor", "--parity", *flags]))
