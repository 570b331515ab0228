"""--profile_steps: a profile of some steps, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import StepCallback


def profilers(run: RunFolder, start_step: int) -> list[Profiler]:
    """For `fit`: one that profiles --profile_steps into the run's logs; none without the flag."""
    text = run.config.profile.profile_steps
    if not text:
        return []
    first, last = (int(number) for number in text.split(","))
    return [Profiler(str(run.logs), start_step, first, last)]


class Profiler(StepCallback):
    """Profiles the calls that hold the steps from `first` to `last`; a call may be several steps."""

    def __init__(self, logs: str, start_step: int, first: int, last: int) -> None:
        super().__init__(start_step)
        self._logs, self._first, self._last = logs, first, last
        self._running = self._done = False

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        """The next call is taken to be as long as this one."""
        if self._running and step >= self._last:
            self.on_train_end()
        elif not self._running and not self._done and step < self._last and 2 * step - before >= self._first:
            tf.profiler.experimental.start(self._logs)
            self._running = True

    def on_train_end(self) -> None:
        """Writes what was profiled; says so when that is nothing."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running, self._done = False, True
        elif not self._done:
            print(f"--profile_steps={self._first},{self._last}: no such step was run, nothing is profiled")
            self._done = True
