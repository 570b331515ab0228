"""Checkpoints of a run: saving, resuming from the newest that can be read, loading parts elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.runs import misfit, tidying, verification
from tf_simclr.runs.prefixes import UNREADABLE, saved_in, step_of, unreadable, variable_shapes

PARTS = ("encoder", "projection_head", "classifier")


class Checkpoints:
    """The checkpoints of one model in `folder`, named ckpt-STEP.

    What there is and what is newest is what a listing says, whatever the file `checkpoint` does. Saving is
    joint work of all workers, since batch norm's statistics are read over replicas; those that are not the
    chief save to a folder of their own.
    """

    def __init__(
        self, folder: epath.Path, model: tf.keras.Model, keep: int, save_to: epath.Path | None = None
    ) -> None:
        self._folder, self._save_to = folder, save_to or folder
        self._checkpoint = tf.train.Checkpoint(model=model)
        self._is_chief = self._save_to == folder
        self._keep = keep if self._is_chief else 1  # nobody reads the others'
        self._restored = 0
        self._manager: tf.train.CheckpointManager | None = None

    def save(self, step: int) -> None:
        """Writes ckpt-STEP and reads it back, before older ones go.

        Raises:
            Diverged: it holds a number that is not finite; it is gone again.
            UsageError: it cannot be read back.
        """
        if self._manager is None:
            self._manager = self._managed()
        checks = [verification.require_good] if self._is_chief else []
        options = tf.train.CheckpointOptions(experimental_write_callbacks=checks)
        try:
            self._manager.save(checkpoint_number=step, options=options)
        except Exception:
            tidying.discard(self._save_to, step)
            raise

    def restore_newest(self, config: Config) -> int:
        """Restores the newest checkpoint that is good; returns its step, 0 when there is none.

        Raises:
            UsageError: none is, or (`DoesNotFit`) it is of another architecture than `config`'s.
        """
        if self._is_chief:
            tidying.tidy(self._folder)
        model, found = self._checkpoint.model, saved_in(self._folder)
        parts = {name: part for name in PARTS if (part := getattr(model, name, None)) is not None}
        for prefix in reversed(found):
            try:
                misfit.require_fit(prefix, parts, config)
                verification.require_good(prefix)
                self._checkpoint.restore(prefix).assert_existing_objects_matched()
            except DoesNotFit:
                raise
            except UNREADABLE as error:
                reason = " ".join(str(error).split())[:300]
                print(f"warning: {prefix} cannot be used, trying an older one ({reason})", file=sys.stderr)
            else:
                self._restored = step_of(prefix)
                return self._restored
        if found:
            raise UsageError(
                f"{self._folder}: no checkpoint here can be used; delete the folder to start anew"
            )
        return 0

    def _managed(self) -> tf.train.CheckpointManager:
        """What keeps as many as asked; those beyond the restored one, which are bad, go first."""
        found = saved_in(self._save_to)
        tidying.write_state(
            self._save_to, sorted(found, key=lambda p: (step_of(p) <= self._restored, step_of(p)))
        )
        return tf.train.CheckpointManager(
            self._checkpoint, str(self._save_to), max_to_keep=self._keep or None, checkpoint_name="ckpt"
        )


def load_parts(prefix: str, parts: Mapping[str, tf.keras.layers.Layer], config: Config) -> None:
    """Fills every variable of the built parts `encoder`, `projection_head`, `classifier` of `config`.

    Raises:
        UsageError: when the checkpoint cannot be read or does not fit, with what differs.
    """
    misfit.require_fit(prefix, parts, config)
    fill(prefix, **parts)


def fill(prefix: str, **parts: tf.Module | tf.train.Checkpoint) -> None:
    """Fills every variable of these attributes of the checkpoint's model.

    Raises:
        UsageError: the checkpoint cannot be read.
    """
    holder = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts))
    try:
        status = holder.restore(prefix)
        status.assert_existing_objects_matched()
    except UNREADABLE as error:
        raise unreadable(prefix, error) from error
    status.expect_partial()


def load_average(prefix: str, encoder: tf.keras.Model, projection_head: tf.keras.layers.Layer) -> bool:
    """Fills both from the `methods.state.Average` of them that a pretraining kept; False where it kept none.

    Raises:
        UsageError: when the checkpoint cannot be read.
    """
    paths = (path.split("/") for path in variable_shapes(prefix))
    for name in sorted({path[1] for path in paths if path[0] == "state"}):
        average = tf.train.Checkpoint(layers=[encoder, projection_head])
        holder = tf.train.Checkpoint(model=tf.train.Checkpoint(state=tf.train.Checkpoint(**{name: average})))
        try:
            status = holder.restore(prefix)
            status.assert_existing_objects_matched()
        except UNREADABLE:  # something else that the method keeps
            continue
        status.expect_partial()
        return True
    return False
