"""Opens a checkpoint file, its folder, or a SavedModel, and sorts what it holds. Nothing in it is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from etils import epath
from google.protobuf.message import DecodeError

from tf_simclr.errors import UsageError
from tf_simclr.official import object_graph, tf1_names
from tf_simclr.official.architecture import Architecture, infer
from tf_simclr.official.weights import Weights

UNREADABLE = (tf.errors.OpError, ValueError, TypeError, RuntimeError, IndexError, OSError)
_STEP_KEYS = ("global_step", "global_step/.ATTRIBUTES/VARIABLE_VALUE")


class OfficialCheckpoint:
    """An opened checkpoint: `weights` says what is in it, `read` gives values.

    Args:
        path: a checkpoint's prefix (or one of its files), a folder of checkpoints, or a SavedModel.
        ema: take the moving averages of a TF1 checkpoint.

    Raises:
        UsageError: nothing there, not readable, or no SimCLR in it.
    """

    def __init__(self, path: str, *, ema: bool = False) -> None:
        self.path = path
        try:
            self.prefix = find(path)
        except tf.errors.OpError as error:  # of a remote file system
            raise self._unreadable(error) from error
        try:
            self._reader = tf.train.load_checkpoint(self.prefix)
            shapes = self._reader.get_variable_to_shape_map()
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        self.weights = self._sorted(shapes, ema)

    def read(self, name: str) -> Any:
        """The value of a variable, as a NumPy array.

        Raises:
            UsageError: the file is damaged there.
        """
        try:
            return self._reader.get_tensor(name)
        except UNREADABLE as error:
            raise self._unreadable(error) from error

    def step(self) -> int:
        """Their global step; without one, the number in the file's or the SavedModel's name, else 0.

        The authors export to saved_model/STEP and hub/STEP, with no step inside.
        """
        for key in _STEP_KEYS:
            if self._reader.has_tensor(key):
                return int(self.read(key))
        return _number(self.prefix)

    def architecture(self) -> Architecture:
        """See `architecture.infer`."""
        try:
            return infer(self.weights)
        except UsageError as error:
            raise UsageError(f"--source={self.path}: {error}") from error

    def _sorted(self, shapes: Mapping[str, Any], ema: bool) -> Weights:
        try:
            if object_graph.KEY not in shapes:
                return tf1_names.sort(shapes, ema=ema)
            if ema:
                raise UsageError("--ema is for TF1 checkpoints; this one is object-based")
            return object_graph.sort(self.read(object_graph.KEY), shapes)
        except UsageError as error:
            raise UsageError(f"--source={self.path}: {error}") from error
        except (DecodeError, IndexError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UsageError:
        reason = " ".join(str(error).split())[:200]
        return UsageError(f"--source={self.path} cannot be read: it is damaged or no checkpoint ({reason})")


def find(path: str) -> str:
    """The prefix of the checkpoint that a path means; in a folder the one in its state file, else the newest.

    Raises:
        UsageError: there is none.
    """
    if not path:
        raise UsageError("--source is required: a checkpoint, its folder, or a SavedModel")
    folder = epath.Path(path)
    if folder.is_dir():
        if (folder / "saved_model.pb").exists():
            return str(folder / "variables" / "variables")
        stated = _stated(folder)
        found = [str(file).removesuffix(".index") for file in folder.glob("*.index")]
        if stated or found:
            return stated or max(found, key=lambda prefix: (_number(prefix), prefix))
        raise UsageError(
            f"--source={path}: neither a checkpoint (NAME.index) nor a SavedModel in this folder"
        )
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if not epath.Path(prefix + ".index").exists():
        raise UsageError(
            f"--source={path}: no such checkpoint or folder ({epath.Path(prefix).name}.index is missing)"
        )
    return prefix


def _stated(folder: epath.Path) -> str | None:
    """The prefix that the folder's state file `checkpoint` names, where there are both."""
    try:
        return tf.train.latest_checkpoint(str(folder))
    except UNREADABLE as error:
        raise UsageError(
            f"--source={folder}: the file `checkpoint` in it cannot be read; delete it, or give NAME.index"
        ) from error


def _number(prefix: str) -> int:
    match = re.search(r"-(\d+)$|(?:^|/)(\d+)/variables/variables$", prefix)
    return int(match.group(1) or match.group(2)) if match else 0
