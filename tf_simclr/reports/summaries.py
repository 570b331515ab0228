"""What TensorBoard shows of a concluded run beside its curves."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf
from etils import epath
from tensorboard.plugins.hparams import api as hparams

from tf_simclr.reports import given_flags

ACCURACIES = ("top1", "top5", "mean_per_class")
VIEWS = "views.png"


def write(folder: epath.Path, result: dict[str, Any]) -> None:
    """Writes logs/evaluation anew: accuracies in percent, the picture of the views, and HParams.

    The hyper-parameters are the flags of flags.cfg; the run's name in that list is its folder's.
    """
    logs = folder / "logs" / "evaluation"
    if logs.exists():
        logs.rmtree()
    writer = tf.summary.create_file_writer(str(logs))
    with writer.as_default(result["steps"]):
        hparams.hparams({name: _value(text) for name, text in given_flags.read(folder).items()}, folder.name)
        for name in ACCURACIES:
            if result.get(name) is not None:
                tf.summary.scalar(f"evaluation/{name}", result[name])
        if (folder / VIEWS).exists():
            picture = tf.io.decode_png((folder / VIEWS).read_bytes(), channels=3)
            tf.summary.image("views", picture[tf.newaxis])
    writer.close()


def _value(text: str) -> bool | int | float | str:
    """A number or true and false as such, so that TensorBoard can order and filter by it."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | float) else text
