"""Steps that are not finite: which they were, what broke first, and that they can be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.models import Classifier, SimCLR
from tf_simclr.models.finite import Broken

GOOD = np.random.default_rng(0).uniform(0.1, 1, [4, 2, 2, 3]).astype(np.float32)
NAN, BLACK = np.full_like(GOOD, np.nan), np.zeros_like(GOOD)
ONE_BLACK = np.concatenate([BLACK[:1], GOOD[1:]])
LABELS = np.array([0, 1, 1, 0])


def encoder(scale: float = 1.0, function: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(0)
    layers = [
        tf.keras.Input([2, 2, 3]),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(5, use_bias=False),
        tf.keras.layers.Lambda(lambda x: scale * function(x)),
    ]
    return tf.keras.Sequential(layers)


def norm(x: tf.Tensor) -> tf.Tensor:
    """Finite everywhere; its gradient is not at 0."""
    return tf.sqrt(tf.square(x))


def classifier(rate: float = 0.1, skips: bool = False, **options: Any) -> Classifier:
    model = Classifier(encoder(**options), 2)
    model.compile(optimizer=tf.keras.optimizers.SGD(rate, momentum=0.9))
    model.watch().skips = skips
    return model


def train(model: tf.keras.Model, *batches: np.ndarray, key: str = "image", **options: Any) -> None:
    data = [{key: images, "label": LABELS} for images in batches]
    whole = {name: np.stack([one[name] for one in data]) for name in data[0]}
    model.fit(tf.data.Dataset.from_tensor_slices(whole), verbose=0, **options)


def values(model: tf.keras.Model) -> list[np.ndarray]:
    measured = [variable for metric in model.metrics for variable in metric.variables]
    return [variable.numpy() for variable in [*model.variables, *measured, *model.optimizer.variables]]


def test_steps_that_are_finite_leave_no_trace() -> None:
    model = classifier()
    train(model, GOOD, GOOD)
    assert model.watch().read() == (0, None)


def test_the_first_step_and_what_broke_in_it() -> None:
    model = classifier()
    train(model, GOOD, NAN, GOOD)  # the third is broken too
    assert model.watch().read() == (0, Broken(2, "loss"))

    model = classifier(function=norm)
    train(model, GOOD, BLACK, GOOD)
    assert model.watch().read() == (0, Broken(2, "gradient"))

    model = classifier(rate=3e38, scale=100.0)
    train(model, GOOD, GOOD)
    assert model.watch().read() == (0, Broken(1, "update"))


@pytest.mark.parametrize("bad", [NAN, BLACK], ids=["loss", "gradient"])
def test_a_step_that_is_left_out_changes_nothing_but_its_number(bad: np.ndarray) -> None:
    model, other = (classifier(skips=skips, function=norm) for skips in (True, False))
    model.watch().allow(2)
    train(model, GOOD, bad, GOOD)
    assert model.watch().read() == (1, None)
    train(other, GOOD)
    other.optimizer.iterations.assign_add(1)
    train(other, GOOD, callbacks=[KeptMetrics(other)])
    for one, two in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(one, two)


class KeptMetrics(tf.keras.callbacks.Callback):
    """Goes on with metrics that `fit` sets back."""

    def __init__(self, model: tf.keras.Model) -> None:
        super().__init__()
        self._kept = [variable.numpy() for metric in model.metrics for variable in metric.variables]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        variables = [variable for metric in self.model.metrics for variable in metric.variables]
        for variable, value in zip(variables, self._kept, strict=True):
            variable.assign(value)


def test_the_first_step_beyond_those_that_may_be_left_out_is_the_error() -> None:
    model = classifier(skips=True)
    model.watch().allow(2)
    train(model, GOOD, NAN, GOOD, NAN, GOOD, NAN, NAN)
    assert model.watch().read() == (2, Broken(6, "loss"))
    assert all(np.isfinite(value).all() for value in values(model))


def test_several_steps_a_call() -> None:
    model = Classifier(encoder(), 2)
    model.compile(optimizer="sgd", steps_per_execution=4)
    train(model, GOOD, GOOD, NAN, GOOD)
    assert model.watch().read() == (0, Broken(3, "loss"))


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize(
    ("images", "rate", "broken"),
    [
        (NAN, 0.1, Broken(2, "loss")),
        (ONE_BLACK, 0.1, Broken(2, "gradient")),
        (GOOD, 3e38, Broken(1, "update")),
    ],
)
def test_pretraining_in_chunks_too(
    micro_batches: int, images: np.ndarray, rate: float, broken: Broken
) -> None:
    model = SimCLR(encoder(function=norm), tf.keras.layers.Dense(3), micro_batches=micro_batches)
    model.compile(optimizer=tf.keras.optimizers.SGD(rate, momentum=0.9))
    train(model, *(np.stack([one, one[::-1]], axis=1) for one in (GOOD, images)), key="views")
    assert model.watch().read() == (0, broken)


def test_float16_leaves_gradients_to_the_loss_scale() -> None:
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    model = classifier(scale=1000.0)
    before = [variable.numpy() for variable in model.trainable_variables]
    train(model, GOOD)
    assert model.optimizer.loss_scale.numpy() < 2**15  # it has skipped the step
    assert model.watch().read() == (0, None)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_watch_is_not_saved(tmp_path: Any) -> None:
    model = classifier()
    count = len(model.variables)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    names = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    assert not [name for name in names if "watch" in name]
    assert len(model.variables) == count


def test_replicas_agree(replicated: dict[str, np.ndarray]) -> None:
    """One image of one replica's share is broken."""
    assert replicated["broken/stops"].tolist() == [[-1, 2, 1], [-1, 2, 1]]
    assert replicated["broken/skips"].tolist() == [[0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(replicated["broken/kernels"][0], replicated["broken/kernels"][1])
    assert np.isfinite(replicated["broken/kernels"]).all()
