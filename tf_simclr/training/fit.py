"""Trains a compiled model from where its run folder stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.errors import Interrupted
from tf_simclr.training.callbacks import Progress, Reporter, Saver, StepCallback
from tf_simclr.training.checkpoints import Checkpoints
from tf_simclr.training.distribution import Agreement, BatchesFrom, distributed_batches, losing_workers
from tf_simclr.training.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Speed:
    """What training took in this process."""

    images_per_second: float
    wall_seconds: float


def fit(
    model: tf.keras.Model,
    batches_from: BatchesFrom,
    steps: Steps,
    run: RunFolder,
    watchers: Callable[[int], Sequence[StepCallback]] = lambda start: (),
) -> Speed:
    """Trains `model` to `steps.total`, resuming from the newest checkpoint.

    Args:
        model: compiled, with built variables and optimizer.
        batches_from: a worker's slices of the batches from a step on, without end.
        steps: the run's durations.
        run: keeps checkpoints, metrics.csv and TensorBoard logs.
        watchers: further callbacks for a run that starts at a step; each acts before the step is saved.

    Raises:
        Interrupted: SIGINT or SIGTERM came and everything is saved, or another worker is gone.
        UsageError: the loss is not finite, or no checkpoint can be read.
    """
    strategy = model.distribute_strategy
    agreement = Agreement(strategy)
    checkpoints = Checkpoints(
        run.checkpoints, model, run.config.checkpoints.keep_checkpoint_max, save_to=run.path / "checkpoints"
    )
    start, began = checkpoints.restore_newest(), time.perf_counter()
    agreement.require_same_start(start)
    if start >= steps.total:
        if not start:
            checkpoints.save(0)
        return Speed(0.0, 0.0)
    batch_size = run.config.optimization.train_batch_size
    progress, saver = Progress(start, steps, batch_size), Saver(checkpoints, start, steps, agreement)
    with losing_workers(strategy):
        model.fit(
            distributed_batches(strategy, batches_from, start, batch_size),
            epochs=1,
            steps_per_epoch=steps.total - start,
            callbacks=[Reporter(run, start, steps, batch_size), *watchers(start), saver, progress],
            verbose=0,
        )
    if saver.interrupted and saver.step < steps.total:
        raise Interrupted(f"stopped and saved at step {saver.step} of {steps.total}")
    return Speed(progress.images_per_second, time.perf_counter() - began)
