"""--select_on_validation: the checkpoint that is best on held-out labelled images is the run's."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Steps
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import Encode, extract_features
from tf_simclr.evaluation.metrics import top_k_accuracy
from tf_simclr.runs.checkpoints import Checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import StepCallback

NAME = "validation.csv"


class Selection:
    """The best weights of a run by top-1 on `source`: MODEL_DIR/best and validation.csv."""

    def __init__(self, run: RunFolder, model: tf.keras.Model, source: Source, steps: Steps) -> None:
        self._run, self._source, self._steps = run, source, steps
        self._model = model
        self._logits = tf.function(model.call)  # traced once, not at every checkpoint
        self._best = Checkpoints(run.path / "best", model, keep=2)
        self.rows: list[tuple[int, float]] = []

    def watcher(self, start: int) -> list[StepCallback]:
        """For `fit`; rows after `start` belong to work that was lost."""
        self.rows = [row for row in _read(self._run) if row[0] <= start]
        return [_AtCheckpoints(start, self._steps, self._measure)]

    def restore_best(self) -> dict[str, float | int]:
        """Puts the best weights into the model and into the run's last checkpoint."""
        self.rows = self.rows or _read(self._run)
        if not self.rows:
            raise UsageError("--select_on_validation: nothing was trained; raise --train_epochs")
        step, top1 = max(self.rows, key=lambda row: (row[1], -row[0]))
        best = self._run.checkpoints.parent / "best" / f"ckpt-{step}"
        tf.train.Checkpoint(model=self._model).restore(str(best))
        last = Checkpoints(self._run.checkpoints, self._model, 0, save_to=self._run.path / "checkpoints")
        last.save(self._steps.total)
        return {"selected_step": step, "validation_top1": top1}

    def _measure(self, step: int) -> None:
        top1 = accuracy(self._run, self._logits, self._source)
        if top1 > max((best for _, best in self.rows), default=-1.0):
            self._best.save(step)
        self.rows.append((step, top1))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("step", "top1"), *self.rows])
        self._run.write(NAME, text.getvalue())


class _AtCheckpoints(StepCallback):
    """Calls `measure` whenever a checkpoint is due, before it is saved."""

    def __init__(self, start: int, steps: Steps, measure: Callable[[int], None]) -> None:
        super().__init__(start)
        self._steps, self._measure = steps, measure

    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        every = self._steps.between_checkpoints
        if before // every != step // every or step == self._steps.total:
            self._measure(step)


def accuracy(run: RunFolder, logits: Encode, source: Source) -> float:
    """Top-1 on every image of `source`, percent."""
    scores = extract_features(logits, inputs.evaluation_batches(run.config.data, source))
    return top_k_accuracy(scores.values, scores.labels, 1) or 0.0


def _read(run: RunFolder) -> list[tuple[int, float]]:
    path = run.checkpoints.parent / NAME  # the chief's, for every worker
    rows = csv.DictReader(io.StringIO(path.read_text())) if path.exists() else []
    return [(int(row["step"]), float(row["top1"])) for row in rows]
