"""--profile_steps: a profile of some steps, for TensorBoard."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.training.callbacks import StepCallback
from tf_simclr.training.run_folder import RunFolder


def profilers(run: RunFolder, start_step: int) -> list[StepCallback]:
    """For `fit`: one that profiles --profile_steps into the run's logs; none without the flag.

    Raises:
        UsageError: the flag is not FIRST,LAST.
    """
    text = run.config.optimization.profile_steps
    if not text:
        return []
    try:
        first, last = (int(number) for number in text.split(","))
    except ValueError:
        first, last = 0, 0
    if not 1 < first <= last:
        raise UsageError(
            f"--profile_steps={text}: give FIRST,LAST with 2 <= FIRST <= LAST (step 1 traces the graph)"
        )
    return [_Profiler(run, start_step, first, last)]


class _Profiler(StepCallback):
    def __init__(self, run: RunFolder, start_step: int, first: int, last: int) -> None:
        super().__init__(start_step)
        self._logs, self._first, self._last = str(run.logs), first, last
        self._running = False

    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        if self._running and step >= self._last:
            self._stop()
        elif not self._running and self._first - 1 <= step < self._last:
            tf.profiler.experimental.start(self._logs)
            self._running = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._running:
            self._stop()

    def _stop(self) -> None:
        tf.profiler.experimental.stop()
        self._running = False
