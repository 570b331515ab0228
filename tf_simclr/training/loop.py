"""The loop of training steps: the host sends them off, and seldom waits for what comes of them.

In place of Keras's `fit`, which fetches every metric at every step, and before it how many steps a call is:
an accelerator finishes all that was sent before it answers, and then has nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.models.model import as_made
from tf_simclr.training.callbacks import StepCallback, read_at

SECONDS = 0.25  # between readings of the metrics, but for those that are due


def train(
    model: tf.keras.Model,
    batches: tf.data.Dataset,
    start: int,
    steps: Steps,
    callbacks: Sequence[StepCallback],
    steps_a_call: int = 1,
) -> None:
    """Trains a compiled model from step `start` on, its metrics as they are, until `stop_training` is set.

    Args:
        batches: without end, of the model's strategy or for its one replica.
        steps_a_call: what the model was compiled with, as `steps_per_execution`.
    """
    for callback in callbacks:
        callback.model = model
    try:
        with as_made(model), model.distribute_strategy.scope():
            _steps(model, batches, start, steps, callbacks, steps_a_call)
    finally:
        for callback in callbacks:
            callback.on_train_end()


def _steps(
    model: tf.keras.Model,
    batches: tf.data.Dataset,
    start: int,
    steps: Steps,
    callbacks: Sequence[StepCallback],
    steps_a_call: int,
) -> None:
    if isinstance(batches, tf.data.Dataset):
        batches = model.distribute_strategy.experimental_distribute_dataset(batches)
    call, iterator, reading = model.make_train_function(), iter(batches), Reading(steps)
    model.stop_training = False
    for callback in callbacks:
        callback.on_train_begin()
    while start < steps.total and not model.stop_training:
        step = min(start + steps_a_call, steps.total)
        if step - start < steps_a_call:
            model.steps_per_execution = step - start
        with tf.profiler.experimental.Trace("train", step_num=start, _r=1):
            figures = call(iterator)
        logs = reading(start, step, figures)
        for callback in callbacks:
            callback.step = step
            callback.on_steps(start, step, logs)
        start = step
    model.steps_per_execution = steps_a_call


class Reading:
    """Reads a step's metrics from the device where they are due, and else a few times a second at most."""

    def __init__(self, steps: Steps) -> None:
        self._steps, self._next = steps, 0.0

    def __call__(self, before: int, step: int, figures: Mapping[str, tf.Tensor]) -> dict[str, float]:
        """The metrics after steps `before` + 1 to `step`; empty where they are not read."""
        if time.perf_counter() < self._next and not read_at(before, step, self._steps):
            return {}
        logs = {name: float(value) for name, value in figures.items()}
        self._next = time.perf_counter() + SECONDS
        return logs
