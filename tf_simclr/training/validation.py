"""--validate_epochs: the method's loss on images that are held out, while an encoder is pretrained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Config, Steps
from tf_simclr.data import Source
from tf_simclr.devices.distribution import BatchesFrom, distributed_batches
from tf_simclr.errors import UsageError
from tf_simclr.inputs import splits
from tf_simclr.methods import name_of
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training.callbacks import StepCallback, due, write_scalars

NAME = "held_out.csv"


def watchers(
    config: Config,
    model: tf.keras.Model,
    train: Source,
    held_out: Source | None,
    steps: Steps,
    run: RunFolder,
) -> Callable[[int], list[StepCallback]]:
    """For `fit`: the figures of `held_out` every --validate_epochs and at the end; none where that is 0.

    Batches are of the training's size, since a contrastive loss depends on the number of negatives: what is
    left of the images is not looked at. Order, crops and distortions are the same every time.

    Raises:
        UsageError: there is no such split, images of it are trained on, or it does not fill a batch.
    """
    if not config.probe.validate_epochs:
        return lambda start: []
    source = _checked(config, train, held_out)
    count = source.num_examples // config.optimization.train_batch_size
    batches = _first(config, source, model.augmentations.num_uniforms, count)
    every = config.probe.validate_epochs * steps.per_epoch
    return lambda start: [_Every(start, steps, every, run, batches, count)]


class _Every(StepCallback):
    """Writes held_out.csv, and TensorBoard beside the training's curves; nothing moves."""

    def __init__(
        self, start: int, steps: Steps, every: int, run: RunFolder, batches: BatchesFrom, count: int
    ) -> None:
        super().__init__(start)
        self._steps, self._every, self._batches, self._count = steps, every, batches, count
        self._batch_size = run.config.optimization.train_batch_size
        self._table = Table(run, NAME, start)
        self._writer = tf.summary.create_file_writer(str(run.logs / "validation"))

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        if not due(before, step, self._every, self._steps.total):
            return
        strategy = self.model.distribute_strategy
        batches = distributed_batches(strategy, self._batches, 0, self._batch_size)
        found = self.model.evaluate(batches, steps=self._count, return_dict=True, verbose=0)
        self.model.reset_metrics()  # which are the training's, too: `Reporter` has just written them
        figures = {name: float(found[name]) for name in self.model.method.figures}
        self._table.append({"step": step, **figures})
        write_scalars(self._writer, step, figures)


def _checked(config: Config, train: Source, source: Source | None) -> Source:
    flag = f"--validate_epochs={config.probe.validate_epochs}"
    if source is None:
        raise UsageError(f"{flag}: there is no split test or validation; name one by --eval_split")
    splits.require_apart(train, source)
    if config.method.needs_index:
        raise UsageError(
            f"{flag}: --method={name_of(config.method)} knows training images alone; leave it out"
        )
    batch = config.optimization.train_batch_size
    if source.num_examples < batch:
        raise UsageError(
            f"{flag}: --eval_split={source.split} has {source.num_examples:,} images, and a batch "
            f"{batch:,}, on whose number the loss depends; lower --train_batch_size, or leave it out"
        )
    return source


def _first(config: Config, source: Source, num_uniforms: int, count: int) -> BatchesFrom:
    """The first `count` batches, the views drawn as those of a training on `source` would be."""
    alone = config.replace(data_service="")
    batches = inputs.pretraining_batches(alone, source, num_uniforms)
    return lambda step, *worker: batches(step, *worker).take(count)
