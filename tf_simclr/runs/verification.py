"""Whether a checkpoint is good: every tensor can be read back, and no number in it is other than finite."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.errors import Diverged, UsageError
from tf_simclr.runs.prefixes import UNREADABLE, saved_in, step_of, unreadable

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def require_good(prefix: str) -> None:
    """Reads the checkpoint whole, a tensor at a time; TensorFlow compares each with its checksum.

    Raises:
        Diverged: a number in it is not finite.
        UsageError: it cannot be read.
    """
    broken = []
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
            value = reader.get_tensor(name)
            if dtype.is_floating and not np.isfinite(value).all():
                broken.append(name.removeprefix("model/").removesuffix(_SUFFIX))
    except UNREADABLE as error:
        raise unreadable(prefix, error) from error
    if broken:
        raise Diverged(
            f"{prefix} would hold numbers that are not finite in {len(broken)} variables, such as {broken[0]}"
        )


def newest_good(folder: epath.Path, before: int) -> int | None:
    """The step of the newest good checkpoint in `folder` below step `before`; None where there is none."""
    for prefix in reversed(saved_in(folder)):
        try:
            if step_of(prefix) >= before:
                continue
            require_good(prefix)
        except UsageError:
            continue
        return step_of(prefix)
    return None
