"""--layer: which output of encoder and projection head stands for an image."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import ProjectionHead


def numbered(asked: str, head: ProjectionHead | None) -> int:
    """--layer as the number of a head layer; 0 is h.

    Raises:
        UsageError: there is no such layer.
    """
    last = len(head.dense_layers) if head is not None else 0
    if asked == "h":
        return 0
    if asked == "z" and head is not None:
        return last
    if asked.isdigit() and int(asked) <= last:
        return int(asked)
    has = f"z and 0 to {last}" if head is not None else "no projection head: only h"
    raise UsageError(f"--layer={asked}: the run of --checkpoint has h, {has}")


def outputs(h: np.ndarray, layer: int, head: ProjectionHead | None, batch_size: int) -> np.ndarray:
    """What the layer gives of h [n, D], a batch at a time."""
    if not layer or head is None:
        return h
    parts = np.split(h, range(batch_size, len(h), batch_size))
    return np.concatenate([head.layer_outputs(tf.constant(part))[layer].numpy() for part in parts])
