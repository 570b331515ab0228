"""Where a benchmark computes: `--device`."""

from __future__ import annotations

import tensorflow as tf
from absl import app, flags

DEVICE = flags.DEFINE_enum(
    "device",
    "auto",
    ["auto", "cpu", "gpu"],
    "device to measure; auto: a GPU where there is one",
    case_sensitive=False,
)


def choose() -> str:
    """ "GPU" or "CPU": where TensorFlow computes from here on, the first one of several.

    Raises:
        UsageError: there is no such device.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if DEVICE.value == "gpu" and not gpus:
        raise app.UsageError("--device=gpu: TensorFlow finds no GPU")
    if DEVICE.value == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "CPU"
    return "GPU" if gpus else "CPU"
