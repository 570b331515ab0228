"""Trains a compiled model from where its run folder stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.devices.distribution import Agreement, BatchesFrom, distributed_batches
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.inputs import bad_images
from tf_simclr.runs import ledger
from tf_simclr.runs.checkpoints import Checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training import loop
from tf_simclr.training.callbacks import Progress, Reporter, Saver, Speed, StepCallback
from tf_simclr.training.guard import Guard
from tf_simclr.training.profiling import profilers

TIMING = "timing.json"


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
        Interrupted: SIGINT or SIGTERM came and everything is saved.
        Diverged: a step is not finite; nothing of it is saved.
        UsageError: no checkpoint is left or can be read, a frozen encoder is not the one that the run
            began with, or more images are bad than are borne: what was trained is saved.
    """
    agreement = Agreement(model.distribute_strategy)
    checkpoints = Checkpoints(
        run.checkpoints, model, run.config.checkpoints.keep_checkpoint_max, save_to=run.path / "checkpoints"
    )
    ledger.require_checkpoint(run.checkpoints.parent, run.checkpoints)
    start = _restore(checkpoints, model, run)
    agreement.require_same_start(start)
    earlier = Speed(**run.read_json(TIMING)) if start else Speed()
    if start >= steps.total:
        if not start:
            checkpoints.save(0)
        Table(run, "metrics.csv", start, steps.per_epoch)  # which mends it
        return earlier
    batch_size = run.config.optimization.train_batch_size
    progress = Progress(start, steps, batch_size, earlier)
    guard = Guard(run, start, steps)

    def saved(step: int) -> None:
        guard.saved(step)
        run.write_json(TIMING, dataclasses.asdict(progress.speed()))

    def before_saving() -> None:
        guard.before_saving()
        bad_images.write(run.path, run.config.run.model_dir)

    saver = Saver(checkpoints, start, steps, agreement, before_saving, saved, _too_many_bad_images(run))
    reporter = Reporter(run, start, steps, batch_size)
    callbacks = [guard, reporter, *watchers(start), progress, *profilers(run, start), saver]
    batches = distributed_batches(model.distribute_strategy, batches_from, start, batch_size)
    loop.train(model, batches, start, steps, callbacks, run.config.devices.steps_per_execution)
    if saver.interrupted and (error := bad_images.over(run.config)):
        raise UsageError(f"{error}; steps to {saver.step:,} are saved")
    if saver.interrupted and saver.step < steps.total:
        raise Interrupted(f"stopped and saved at step {saver.step} of {steps.total}")
    return progress.speed()


def _too_many_bad_images(run: RunFolder) -> Callable[[], bool]:
    return lambda: bad_images.over(run.config) is not None


def _restore(checkpoints: Checkpoints, model: tf.keras.Model, run: RunFolder) -> int:
    """The step of the newest checkpoint, restored; 0 where there is none."""
    frozen = not model.encoder.trainable
    given = encoder_sha256(model.encoder) if frozen else ""
    start = checkpoints.restore_newest(run.config)
    if start and frozen and encoder_sha256(model.encoder) != given:
        raise UsageError(
            f"--checkpoint={run.config.checkpoints.checkpoint} holds another encoder than when the run in "
            f"--model_dir={run.config.run.model_dir} began; give another --model_dir"
        )
    if start:
        print(f"  goes on from step {start:,}", flush=True)
    return start
