"""Where the checkpoints of a run are and what is in them, without opening a model."""

from __future__ import annotations

import re

import tensorflow as tf
from etils import epath

from tf_simclr.config.stored import run_of
from tf_simclr.errors import UsageError

UNREADABLE = (tf.errors.OpError, ValueError, AssertionError, RuntimeError, IndexError)
_NONE_YET = " yet; give one of a command that trains: pretrain, linear_eval, finetune, distill"


def saved_in(folder: epath.Path) -> list[str]:
    """Checkpoint prefixes in `folder`, oldest first, whatever the `checkpoint` file there says."""
    found = [str(path)[: -len(".index")] for path in folder.glob("ckpt-*.index")] if folder.exists() else []
    return sorted(found, key=step_of)


def step_of(prefix: str) -> int:
    """The STEP of .../ckpt-STEP."""
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
        found = saved_in(run_of(checkpoint) / "checkpoints")
        if found:
            return found[-1]
        kept = (*folder.glob("seed_*/checkpoints"), *folder.glob("seed_*/chosen"))
        seeds = sorted(str(one.parent) for one in kept)
        one_of = f"; give the run of one of its seeds, such as {seeds[0]}" if seeds else _NONE_YET
        raise UsageError(f"--checkpoint={checkpoint}: the run has no checkpoint{one_of}")
    if not epath.Path(checkpoint + ".index").exists():
        raise UsageError(f"--checkpoint={checkpoint}: no such run folder or checkpoint")
    return checkpoint


def variable_shapes(prefix: str) -> dict[str, list[int]]:
    """Paths and shapes of a model's variables: `encoder/...`, `projection_head/...`, `classifier/...`.

    Raises:
        UsageError: when the file cannot be read.
    """
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    try:
        found = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    except UNREADABLE as error:
        raise unreadable(prefix, error) from error
    return {
        name[len("model/") : -len(suffix)]: shape
        for name, shape in found.items()
        if name.startswith("model/") and name.endswith(suffix) and ".OPTIMIZER_SLOT" not in name
    }


def unreadable(prefix: str, error: BaseException) -> UsageError:
    """What TensorFlow says of a damaged checkpoint, as a line."""
    return UsageError(f"--checkpoint={prefix} cannot be read: {' '.join(str(error).split())[:300]}")
