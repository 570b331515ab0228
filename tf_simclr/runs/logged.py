"""What TensorBoard's event files of a run hold of a table."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from etils import epath


def rows(logs: epath.Path, like: Mapping[str, float | str]) -> dict[int, dict[str, float | str]]:
    """Rows by step that have all the columns of `like`, itself a row.

    Floats are float32 there as they are in training. Whole numbers, which are float32 too, grow with the
    step and are reckoned from `like`.
    """
    names = [name for name in like if name != "step"]
    shown: dict[int, dict[str, float]] = {}
    for path in sorted(logs.glob("events.*")):
        for event in tf.data.TFRecordDataset(str(path)).ignore_errors():
            parsed = tf.compat.v1.Event.FromString(event.numpy())
            for value in parsed.summary.value:
                if value.tag in names:
                    number = float(tf.make_ndarray(value.tensor))
                    shown.setdefault(parsed.step, {})[value.tag] = number
    per_step = {name: value / int(like["step"]) for name, value in like.items() if isinstance(value, int)}
    return {
        step: {
            "step": step,
            **{name: round(per_step[name] * step) if name in per_step else row[name] for name in names},
        }
        for step, row in sorted(shown.items())
        if all(name in row for name in names)
    }
