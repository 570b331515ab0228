"""Whether steps stay finite, noted on the device: the host learns of it when it reads anyway.

A step breaks where its loss, its gradients, or what its update makes of weights and moving statistics hold a
value that is not finite; they are judged by sums, so that one beyond its dtype's range counts too. Under
mixed_float16 gradients are left to Keras's LossScaleOptimizer, which skips such steps itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.replicas.gather import sum_replicas

PARTS = ("loss", "gradient", "update")
Figures = dict[str, tf.Tensor]
TrainStep = Callable[[Any, Mapping[str, tf.Tensor]], Figures]


class Broken(NamedTuple):
    """The step at which training broke, counted from 1, and which of PARTS did first."""

    step: int
    part: str


class Watch:
    """What the steps of one model say of themselves, the same on every replica.

    `skips`: broken steps are taken back, see `guarded`; set it before the first step is traced.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.skips = False
        self._strategy, self._allowed = strategy, 0
        with strategy.scope():
            self._state = tf.Variable(  # broken steps still allowed; the first beyond them; its part, from 1
                tf.zeros([3], tf.int64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

    def allow(self, count: int) -> None:
        """Begins anew, with `count` broken steps that are taken back before one is an error."""
        self._allowed = count
        with self._strategy.scope():
            self._state.assign([count, 0, 0])

    def read(self) -> tuple[int, Broken | None]:
        """How many steps were taken back, and where training broke; fetches three numbers."""
        left, step, part = self._state.numpy().tolist()
        return self._allowed - max(left, 0), Broken(step, PARTS[part - 1]) if part else None

    def left(self) -> tf.Tensor:
        """In a step: the broken ones still allowed, below 0 after the first beyond them."""
        return tf.convert_to_tensor(self._state)[0]

    def note(self, step: tf.Tensor, totals: Sequence[tf.Tensor]) -> None:
        """Takes down a step by sums over each of PARTS, in a replica's context."""
        fine = tf.math.is_finite(tf.stack(totals))
        part = tf.where(fine[0], tf.where(fine[1], 3, 2), 1)
        broken = ~tf.reduce_all(fine)
        left, first, of = tf.unstack(tf.convert_to_tensor(self._state))
        left -= tf.cast(broken, tf.int64)
        beyond = broken & (left == -1)
        new = [left, tf.where(beyond, step, first), tf.where(beyond, tf.cast(part, tf.int64), of)]
        self._state.assign(tf.stack(new))


def attach(model: tf.keras.Model) -> None:
    """Gives `model` its `watch()`; behind a function, for Keras would save it with the model."""
    watch = Watch(model.distribute_strategy)
    model.watch = lambda: watch


def minimize(model: Any, loss: tf.Tensor, tape: tf.GradientTape) -> None:
    """As the optimizer's own, with the step noted. `loss` is a replica's part."""
    optimizer, scaled = model.optimizer, loss
    if scales_loss(optimizer):
        with tape:
            scaled = optimizer.get_scaled_loss(loss)
    gradients = tape.gradient(scaled, model.trainable_variables)
    if scales_loss(optimizer):
        gradients = optimizer.get_unscaled_gradients(gradients)
    apply(model, loss, gradients)


def apply(model: Any, loss: tf.Tensor, gradients: Sequence[Any], judged: Sequence[Any] | None = None) -> None:
    """Applies a replica's gradients of `model.trainable_variables`, unscaled, with the step noted.

    `judged` stand for the gradients where these are sums: TensorFlow adds such and weight decay up in
    another order, with other rounding, where something else looks at them too.
    """
    optimizer, variables = model.optimizer, model.trainable_variables
    dtype = tf.float64 if loss.dtype == tf.float64 else tf.float32
    with tf.init_scope():  # optimizers of the old kind make it when they are first asked
        iterations = optimizer.iterations
    step = tf.cast(iterations, tf.int64) + 1
    judged = gradients if judged is None else judged
    looked_at = [] if scales_loss(optimizer) else judged
    sums = [_total(own, dtype) for own in ([loss], looked_at, _statistics(model))]
    total, gradient, moved = tf.unstack(sum_replicas(tf.stack(sums)))
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    model.watch().note(step, [total, gradient, moved + _total(variables, dtype)])


def guarded(train_step: TrainStep) -> TrainStep:
    """A train step that, where the watch `skips`, changes nothing but the step's number if it broke.

    That takes a copy of weights, slots and statistics for the time of a step; otherwise nothing is added.
    """

    @functools.wraps(train_step)
    def step(model: Any, batch: Mapping[str, tf.Tensor]) -> Figures:
        watch = model.watch()
        if not watch.skips:
            return train_step(model, batch)
        left, kept = watch.left(), [(variable, _read(variable)) for variable in _moved(model)]
        figures = train_step(model, batch)
        broken = watch.left() < left
        for variable, before in kept:
            value = tf.where(broken, before, _read(variable))
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
        return {metric.name: metric.result() for metric in model.metrics if metric.name in figures}

    return step


def scales_loss(optimizer: Any) -> bool:
    """Whether it is Keras's LossScaleOptimizer, under mixed_float16."""
    return hasattr(optimizer, "get_scaled_loss")


def _total(tensors: Sequence[Any], dtype: tf.DType) -> tf.Tensor:
    """The sum over all elements; one operation a kernel, and one for all vectors together."""
    dense = [one.values if isinstance(one, tf.IndexedSlices) else one for one in tensors if one is not None]
    values = [tf.cast(one, dtype) for one in dense]
    vectors = [one for one in values if one.shape.rank == 1]
    joined = [tf.concat(vectors, 0)] if vectors else []
    kernels = [one for one in values if one.shape.rank != 1]
    return tf.add_n([tf.zeros([], dtype), *(tf.reduce_sum(one) for one in [*kernels, *joined])])


def _statistics(model: Any) -> list[tf.Variable]:
    """Batch norm's moving means and variances."""
    return [v for v in model.variables if not v.trainable and v.dtype.is_floating and v.shape.rank == 1]


def _moved(model: Any) -> list[tf.Variable]:
    """All that a step may change but for its number and the loss's scale."""
    optimizer = model.optimizer
    slots = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    measured = [variable for metric in model.metrics for variable in metric.variables]
    found = {id(variable): variable for variable in [*model.variables, *measured, *slots]}
    found.pop(id(optimizer.iterations), None)
    return list(found.values())


def _read(variable: tf.Variable) -> tf.Tensor:
    """This replica's own value: reading as Keras does may reduce over replicas, or cast."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
