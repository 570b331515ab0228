"""Checkpoints of a run: saving, resuming from the newest that can be read, loading parts elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from tf_simclr.config import stored
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.runs import misfit

UNREADABLE = (tf.errors.OpError, ValueError, AssertionError)


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

    def restore_newest(self) -> int:
        """Restores the newest checkpoint that can be read; returns its step, 0 when there is none."""
        for prefix in reversed(prefixes(self._folder)):
            try:
                misfit.require_fit(prefix, misfit.parts_of(self._checkpoint.model))
                self._checkpoint.restore(prefix).assert_existing_objects_matched()
            except DoesNotFit:
                raise
            except UNREADABLE as error:
                print(
                    f"warning: {prefix} cannot be read, trying an older one ({_line(error)})", file=sys.stderr
                )
            else:
                return step_of(prefix)
        if prefixes(self._folder):
            raise UsageError(
                f"{self._folder}: no checkpoint here can be read; delete the folder to start anew"
            )
        return 0


def prefixes(folder: epath.Path) -> list[str]:
    """Checkpoint prefixes in `folder`, oldest first, whatever the `checkpoint` file there says."""
    found = [str(path)[: -len(".index")] for path in folder.glob("ckpt-*.index")] if folder.exists() else []
    return sorted(found, key=step_of)


def step_of(prefix: str) -> int:
    match = re.search(r"ckpt-(\d+)$", prefix)
    if not match:
        raise UsageError(f"--checkpoint={prefix}: a checkpoint's prefix ends in ckpt-STEP")
    return int(match.group(1))


def find(checkpoint: str) -> str:
    """The prefix that --checkpoint means: the newest of a run folder, or the prefix itself.

    Raises:
        UsageError: when there is none.
    """
    folder = epath.Path(checkpoint)
    if folder.is_dir():
        found = prefixes(stored.run_of(checkpoint) / "checkpoints")
        if found:
            return found[-1]
        kept = (*folder.glob("seed_*/checkpoints"), *folder.glob("seed_*/chosen"))
        seeds = sorted(str(one.parent) for one in kept)
        one_of = f"; give the run of one of its seeds, such as {seeds[0]}" if seeds else " yet"
        raise UsageError(f"--checkpoint={checkpoint}: the run has no checkpoint{one_of}")
    if not epath.Path(checkpoint + ".index").exists():
        raise UsageError(f"--checkpoint={checkpoint}: no such run folder or checkpoint")
    return checkpoint


def variable_shapes(prefix: str) -> dict[str, list[int]]:
    """Names and shapes of a checkpoint's variables: `encoder/...`, `projection_head/...`, `classifier/...`.

    Raises:
        UsageError: when the file cannot be read.
    """
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    try:
        found = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    except UNREADABLE as error:
        raise UsageError(f"--checkpoint={prefix} cannot be read: {_line(error)}") from error
    return {
        name[len("model/") : -len(suffix)]: shape
        for name, shape in found.items()
        if name.startswith("model/") and name.endswith(suffix) and ".OPTIMIZER_SLOT" not in name
    }


def load_parts(prefix: str, parts: Mapping[str, tf.keras.layers.Layer]) -> None:
    """Fills every variable of the built parts `encoder`, `projection_head`, `classifier`.

    Raises:
        UsageError: when the checkpoint cannot be read or does not fit, with what differs.
    """
    misfit.require_fit(prefix, parts)
    holder = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts))
    try:
        status = holder.restore(prefix)
        status.assert_existing_objects_matched()
    except UNREADABLE as error:
        raise UsageError(f"--checkpoint={prefix} cannot be read: {_line(error)}") from error
    status.expect_partial()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
