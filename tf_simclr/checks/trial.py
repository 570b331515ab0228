"""A short trial of a planned run: images a second of its host and of its step, and its first loss.

The run's own batches, model and devices; nothing is written, and what the steps train is thrown away.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.checks.planned import Planned
from tf_simclr.config import Config
from tf_simclr.devices.distribution import distributed_batches
from tf_simclr.image_size import height_and_width
from tf_simclr.models import Pretraining
from tf_simclr.runs import build
from tf_simclr.runs.loading import initialize_encoder

PIXELS = 16 * 224**2  # of the images of a CPU's trial step, of which there are 16 to 64: seconds, not minutes
HOST_SHARE = 1 / 3  # of the seconds


class Trial(NamedTuple):
    """What was measured.

    Attributes:
        images: of a step.
        host, step: images a second, each alone.
        first: the figures of the first step, whose weights are the run's first ones.
    """

    images: int
    host: float
    step: float
    first: dict[str, float]


def of(run: Planned, seconds: float) -> Trial:
    """Tries the run for about `seconds`, beside the time that tracing and compiling its step takes."""
    config = run.with_batch(_images(run))
    steps = config.steps(run.source.num_examples)
    captions = config.method.read_captions(run.source)
    with run.strategy.scope():
        classes = 0 if run.source.multi_label else run.source.num_classes
        model = build.pretraining(config, classes, steps, run.source.num_examples, captions)
    initialize_encoder(model, config)
    batch, host = _host(config, run, model, seconds * HOST_SHARE)
    first, step = _step(config, run.strategy, model, batch, seconds * (1 - HOST_SHARE))
    return Trial(config.optimization.train_batch_size, host, step, first)


def _images(run: Planned) -> int:
    """Of the trial's step: all of the batch on accelerators; few on CPUs, whose rate hardly depends on it."""
    height, width = height_and_width(run.config.data.image_size)
    few = max(16, min(64, PIXELS // (height * width)))
    few = run.replicas * run.config.memory.micro_batches * (1 << (few.bit_length() - 1))
    on_cpu = not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
    return min(run.batch, max(few, getattr(run.config.method, "loss_block_size", 0))) if on_cpu else run.batch


def _host(config: Config, run: Planned, model: Pretraining, seconds: float) -> tuple[Any, float]:
    """The first batch, and images a second from the second batch on: the first one fills the buffers."""
    batches = iter(inputs.pretraining_batches(config, run.source, model.augmentations.num_uniforms)(0))
    first = next(batches)
    began, made = time.perf_counter(), 0
    while not made or time.perf_counter() - began < seconds:
        next(batches)
        made += 1
    return first, made * config.optimization.train_batch_size / (time.perf_counter() - began)


def _step(
    config: Config, strategy: tf.distribute.Strategy, model: Pretraining, batch: Any, seconds: float
) -> tuple[dict[str, float], float]:
    """The figures of the first step, and images a second from the second step on, all of one batch."""
    images = config.optimization.train_batch_size
    again = distributed_batches(strategy, lambda *_: tf.data.Dataset.from_tensors(batch).repeat(), 0, images)
    clock = _Clock(seconds)
    model.fit(again, epochs=1, steps_per_epoch=_Clock.MOST, callbacks=[clock], verbose=0)
    return clock.first, (len(clock.times) - 1) * images / (clock.times[-1] - clock.times[0])


class _Clock(tf.keras.callbacks.Callback):
    """Notes when steps end, and stops `seconds` after the first, which is traced and compiled."""

    MOST = 1_000_000

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.first: dict[str, float] = {}
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.first = self.first or dict(logs or {})
        self.times.append(time.perf_counter())
        if len(self.times) > 1 and self.times[-1] - self.times[0] > self._seconds:
            self.model.stop_training = True
