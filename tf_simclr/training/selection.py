"""--select_on_validation: the checkpoint that is best on held-out labelled images is the run's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf
from etils import epath

from tf_simclr import inputs
from tf_simclr.config import Steps
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import Encode, extract_features
from tf_simclr.evaluation.metrics import top_k_accuracy
from tf_simclr.runs.checkpoints import Checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training.callbacks import StepCallback, due

NAME = "validation.csv"


class Selection:
    """The best weights of a run by top-1 on `source`: MODEL_DIR/best and validation.csv."""

    def __init__(self, run: RunFolder, model: tf.keras.Model, source: Source, steps: Steps) -> None:
        self._run, self._source, self._steps = run, source, steps
        self._model = model
        self._logits = tf.function(model.call)  # traced once, not at every checkpoint
        self._best = Checkpoints(run.path / "best", model, keep=2)
        self._table = Table(run, NAME, steps.total)

    def watcher(self, start: int) -> list[StepCallback]:
        """For `fit`."""
        self._table = Table(self._run, NAME, start)
        return [_AtCheckpoints(start, self._steps, self._measure)]

    def restore_best(self) -> dict[str, float | int]:
        """Puts the best weights into the model and into the run's last checkpoint."""
        if not self._table.rows:
            raise UsageError("--select_on_validation: nothing was trained; raise --train_epochs")
        step, top1 = max(self._measured(), key=lambda row: (row[1], -row[0]))
        best = self._run.checkpoints.parent / "best" / f"ckpt-{step}"
        if not epath.Path(f"{best}.index").exists():
            raise UsageError(
                f"--select_on_validation: {best}, which {NAME} names, is gone; bring it back, or delete the "
                "run folder to start anew"
            )
        tf.train.Checkpoint(model=self._model).restore(str(best))
        last = Checkpoints(self._run.checkpoints, self._model, 0, save_to=self._run.path / "checkpoints")
        last.save(self._steps.total)
        return {"selected_step": step, "validation_top1": top1}

    def _measure(self, step: int) -> None:
        top1 = accuracy(self._run, self._logits, self._source)
        if top1 > max((best for _, best in self._measured()), default=-1.0):
            self._best.save(step)
        self._table.append({"step": step, "top1": str(top1)})

    def _measured(self) -> list[tuple[int, float]]:
        return [(int(row["step"]), float(row["top1"])) for row in self._table.rows]


class _AtCheckpoints(StepCallback):
    """Calls `measure` whenever a checkpoint is due, before it is saved."""

    def __init__(self, start: int, steps: Steps, measure: Callable[[int], None]) -> None:
        super().__init__(start)
        self._steps, self._measure = steps, measure

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        if due(before, step, self._steps.between_checkpoints, self._steps.total):
            self._measure(step)


def accuracy(run: RunFolder, logits: Encode, source: Source) -> float:
    """Top-1 on every image of `source`, percent."""
    scores = extract_features(logits, inputs.evaluation_batches(run.config.data, source))
    return top_k_accuracy(scores.values, scores.labels, 1) or 0.0
