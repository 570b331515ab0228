"""What happens beside the training steps: rows and TensorBoard, checkpoints, interruption, progress."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.devices.distribution import Agreement
from tf_simclr.progress import progress_bar
from tf_simclr.runs.checkpoints import Checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training.signals import Signals


class StepCallback:
    """What is told of the steps done since the run began, rather than since this process did."""

    model: tf.keras.Model = None  # until training begins

    def __init__(self, start_step: int) -> None:
        self.step = self._start = start_step

    def on_train_begin(self) -> None:
        """Before the first step; `model` is known."""

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        """Steps `before` + 1 to `step` are done; `logs` are empty where the host has not read them."""
        raise NotImplementedError

    def on_train_end(self) -> None:
        """After the last step, and where one failed."""


def due(before: int, step: int, every: int, total: int) -> bool:
    """Whether a multiple of `every`, or the end, is among the steps `before` + 1 to `step`."""
    return before // every != step // every or step >= total


def read_at(before: int, step: int, steps: Steps) -> bool:
    """Whether an epoch or the training ends, or a checkpoint is due: the host reads the metrics then."""
    return any(
        due(before, step, every, steps.total) for every in (steps.per_epoch, steps.between_checkpoints)
    )


def write_scalars(writer: tf.summary.SummaryWriter, step: int, values: Mapping[str, float]) -> None:
    """Shows the values in TensorBoard at once."""
    with writer.as_default(step):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    writer.flush()


class Reporter(StepCallback):
    """Writes means over the epoch to metrics.csv and TensorBoard."""

    def __init__(self, run: RunFolder, start_step: int, steps: Steps, images_per_step: int) -> None:
        super().__init__(start_step)
        self._table = Table(run, "metrics.csv", start_step, steps.per_epoch)
        self._steps, self._images_per_step = steps, images_per_step
        self._writer = tf.summary.create_file_writer(str(run.logs))

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        if not due(before, step, self._steps.per_epoch, self._steps.total):
            return
        row = {"step": step, "images": step * self._images_per_step, "learning_rate": self._rate(), **logs}
        self._table.append(row)
        write_scalars(self._writer, step, row)
        self.model.reset_metrics()

    def _rate(self) -> float:
        """The rate of the step just taken; the schedule says rate 0 at step 0."""
        rate = self.model.optimizer.learning_rate
        return float(tf.convert_to_tensor(rate(self.step - 1) if callable(rate) else rate))


class Saver(StepCallback):
    """Saves every so many steps, at the last one, and when asked to stop.

    `check` is called before a checkpoint and may refuse it by an exception, `saved` after it with its step.
    `asked` says after every step whether to stop, as a signal does.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        start_step: int,
        steps: Steps,
        agreement: Agreement,
        check: Callable[[], None] = lambda: None,
        saved: Callable[[int], None] = lambda step: None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(start_step)
        self._checkpoints, self._steps, self._agreement = checkpoints, steps, agreement
        self._check, self._saved, self._asked = check, saved, asked
        self.signals = Signals()  # of this process, at any time
        self.interrupted = False  # all of them, as agreed upon after a step

    def on_train_begin(self) -> None:
        self.signals.take()

    def on_train_end(self) -> None:
        self.signals.give_back()

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        wants_to_stop = self.signals.came or self._asked()
        self.interrupted = self._agreement.any_worker(wants_to_stop, at_once=step >= self._steps.total)
        if self.interrupted or due(before, step, self._steps.between_checkpoints, self._steps.total):
            self._check()
            self._checkpoints.save(step)
            self._saved(step)
        if self.interrupted:
            self.model.stop_training = True


@dataclasses.dataclass(frozen=True)
class Speed:
    """What training took: seconds of all the processes that did it, images a second of the last one."""

    images_per_second: float = 0.0
    wall_seconds: float = 0.0


class Progress(StepCallback):
    """A bar with loss, images a second and time left, by the wall clock since the first call was traced."""

    def __init__(
        self, start_step: int, steps: Steps, images_per_step: int, earlier: Speed | None = None
    ) -> None:
        super().__init__(start_step)
        self._total, self._images_per_step = steps.total, images_per_step
        self._earlier, self._made = earlier or Speed(), time.perf_counter()
        self._begin: tuple[int, float] | None = None
        self.images_per_second, self._loss = 0.0, math.nan
        self.bar = progress_bar(
            total=self._total * self._images_per_step,
            initial=self.step * self._images_per_step,
            unit=" images",
            unit_scale=True,
            smoothing=0,
            dynamic_ncols=True,
        )

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        self._loss = logs.get(self._loss_name(), self._loss)
        self.bar.set_postfix_str(f"step {step}/{self._total}, loss {self._loss:.3f}", refresh=False)
        images = (step - before) * self._images_per_step
        if self._begin is None:
            self._begin = (step, time.perf_counter())
            self.bar.initial += images
            self.bar.n += images
            self.bar.unpause()  # its clock starts here
            return
        self.bar.update(images)
        seconds = time.perf_counter() - self._begin[1]
        self.images_per_second = (step - self._begin[0]) * self._images_per_step / seconds

    def on_train_end(self) -> None:
        self.bar.close()

    def _loss_name(self) -> str:
        method = getattr(self.model, "method", None)
        return method.figures[0] if method is not None else "loss"

    def speed(self) -> Speed:
        """So far, with the processes before this one."""
        return Speed(
            self.images_per_second or self._earlier.images_per_second,
            self._earlier.wall_seconds + time.perf_counter() - self._made,
        )
