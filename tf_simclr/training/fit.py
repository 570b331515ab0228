"""Trains a compiled model from where its run folder stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.devices.distribution import Agreement, BatchesFrom, distributed_batches
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.runs.checkpoints import Checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import Progress, Reporter, Saver, StepCallback
from tf_simclr.training.profiling import profilers

TIMING = "timing.json"


@dataclasses.dataclass(frozen=True)
class Speed:
    """What training took: seconds of all the processes that did it, images a second of the last one."""

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
        Interrupted: SIGINT or SIGTERM came and everything is saved.
        UsageError: the loss is not finite, no checkpoint can be read, or a frozen encoder is not the one
            that the run began with.
    """
    strategy = model.distribute_strategy
    agreement = Agreement(strategy)
    checkpoints = Checkpoints(
        run.checkpoints, model, run.config.checkpoints.keep_checkpoint_max, save_to=run.path / "checkpoints"
    )
    start, began = _restore(checkpoints, model, run), time.perf_counter()
    agreement.require_same_start(start)
    earlier = Speed(**run.read_json(TIMING)) if start and (run.path / TIMING).exists() else Speed(0.0, 0.0)
    if start >= steps.total:
        if not start:
            checkpoints.save(0)
        return earlier
    batch_size = run.config.optimization.train_batch_size
    progress, profiling = Progress(start, steps, batch_size), profilers(run, start)

    def speed() -> Speed:
        return Speed(
            progress.images_per_second or earlier.images_per_second,
            earlier.wall_seconds + time.perf_counter() - began,
        )

    def keep_timing() -> None:
        run.write_json(TIMING, dataclasses.asdict(speed()))

    saver = Saver(checkpoints, start, steps, agreement, keep_timing)
    try:
        model.fit(
            distributed_batches(strategy, batches_from, start, batch_size),
            epochs=1,
            steps_per_epoch=steps.total - start,
            callbacks=[
                Reporter(run, start, steps, batch_size),
                *watchers(start),
                *profiling,
                progress,
                saver,
            ],
            verbose=0,
        )
    finally:  # Keras ends no training that raised
        saver.on_train_end()
        progress.on_train_end()
        for profiler in profiling:
            profiler.close()
    if saver.interrupted and saver.step < steps.total:
        raise Interrupted(f"stopped and saved at step {saver.step} of {steps.total}")
    return speed()


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
