"""A run's batches, decisions and failures over the replicas and workers of a strategy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.errors import Interrupted, UsageError

SECONDS = 0.25  # between agreements of workers

BatchesFrom = Callable[..., tf.data.Dataset]
"""(start_step, worker=0, num_workers=1) -> that worker's slice of every batch from the step on."""

LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def distributed_batches(
    strategy: tf.distribute.Strategy, batches_from: BatchesFrom, start_step: int, batch_size: int
) -> Any:
    """The global batches of one worker, each replica with its own contiguous slice of them."""
    if strategy.num_replicas_in_sync == 1:
        return batches_from(start_step)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = batches_from(start_step, context.input_pipeline_id, context.num_input_pipelines)
        return batches.rebatch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)

    return strategy.distribute_datasets_from_function(of_worker)


class Agreement:
    """Decisions that all workers take together, else one would save while the others train on."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self._sum = tf.function(self._sum_over_replicas)
        self._calls, self._next = 0, 1  # the same on every worker
        self._last = (0, time.perf_counter())  # call at which they agreed, and when

    def any_worker(self, flag: bool, at_once: bool) -> bool:
        """Whether `flag` is true on any worker, to be called by all after every step.

        Where there are several it takes an all-reduce, which waits for the step: so they agree a few times a
        second, at steps that follow from the mean of their speeds, and `at_once`; False in between.
        """
        if not is_multi_worker(self._strategy):
            return flag
        self._calls += 1
        if self._calls < self._next and not at_once:
            return False
        now = time.perf_counter()
        rate = (self._calls - self._last[0]) / (now - self._last[1])
        flags, rates = self._sum(tf.constant([float(flag), rate])).numpy()
        self._next = self._calls + max(1, int(rates / self._strategy.num_replicas_in_sync * SECONDS))
        self._last = (self._calls, now)
        return bool(flags > 0)

    def require_same_start(self, step: int) -> None:
        """Refuses workers that found different checkpoints.

        Raises:
            UsageError: --model_dir is not the same folder for all of them.
        """
        if not is_multi_worker(self._strategy):
            return
        total = int(self._sum(tf.constant(step)))
        if total != step * self._strategy.num_replicas_in_sync:
            raise UsageError(
                f"--model_dir: this worker found a checkpoint of step {step}, others did not: give a folder "
                "that all workers share, such as gs://BUCKET/RUN"
            )

    def _sum_over_replicas(self, value: tf.Tensor) -> tf.Tensor:
        def replica(value: tf.Tensor) -> tf.Tensor:
            own = tf.identity(value)  # on the replica's device, which a function's argument has not
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

        return self._strategy.experimental_local_results(self._strategy.run(replica, [value]))[0]


def lost_worker(error: Exception) -> Interrupted:
    """What to say of the error that a dead worker causes in the others."""
    cause = (str(error).splitlines() or [""])[0][:200]
    return Interrupted(
        f"lost another worker ({type(error).__name__}: {cause}); what was saved last is good; "
        "start every worker"
    )


def is_lost_worker(error: Exception) -> bool:
    """Whether an error, where there are several workers, is what a dead one causes in the others."""
    if isinstance(error, tf.errors.InternalError):  # which may as well be a kernel's
        return re.search("collective|connection|peer|rpc|socket", str(error), re.IGNORECASE) is not None
    return isinstance(error, LOST)
