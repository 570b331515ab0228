"""Checkpoints of a run: saving, resuming from the newest that can be read, loading parts elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.runs import misfit
from tf_simclr.runs.prefixes import UNREADABLE, saved_in, step_of, unreadable, variable_shapes

PARTS = ("encoder", "projection_head", "classifier")


class Checkpoints:
    """The checkpoints of one model in `folder`, named ckpt-STEP.

    Saving is joint work of all workers, since batch norm's statistics are read over replicas; those that
    are not the chief save to a folder of their own.
    """

    def __init__(
        self, folder: epath.Path, model: tf.keras.Model, keep: int, save_to: epath.Path | None = None
    ) -> None:
        self._folder = folder
        self._checkpoint = tf.train.Checkpoint(model=model)
        if save_to is not None and save_to != folder:
            keep = 1  # nobody reads them
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(save_to or folder), max_to_keep=keep or None, checkpoint_name="ckpt"
        )

    def save(self, step: int) -> None:
        self._manager.save(checkpoint_number=step)

    def restore_newest(self, config: Config) -> int:
        """Restores the newest checkpoint that can be read; returns its step, 0 when there is none.

        Raises:
            UsageError: none can be read, or (`DoesNotFit`) it is of another architecture than `config`'s.
        """
        model, found = self._checkpoint.model, saved_in(self._folder)
        parts = {name: part for name in PARTS if (part := getattr(model, name, None)) is not None}
        for prefix in reversed(found):
            try:
                misfit.require_fit(prefix, parts, config)
                self._checkpoint.restore(prefix).assert_existing_objects_matched()
            except DoesNotFit:
                raise
            except UNREADABLE as error:
                reason = " ".join(str(error).split())[:300]
                print(f"warning: {prefix} cannot be read, trying an older one ({reason})", file=sys.stderr)
            else:
                return step_of(prefix)
        if found:
            raise UsageError(
                f"{self._folder}: no checkpoint here can be read; delete the folder to start anew"
            )
        return 0


def load_parts(prefix: str, parts: Mapping[str, tf.keras.layers.Layer], config: Config) -> None:
    """Fills every variable of the built parts `encoder`, `projection_head`, `classifier` of `config`.

    Raises:
        UsageError: when the checkpoint cannot be read or does not fit, with what differs.
    """
    misfit.require_fit(prefix, parts, config)
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
