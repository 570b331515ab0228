"""Images of the run's own data set: some of training to calibrate int8, some of evaluation to measure on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize

from .formats import ROUNDED

CALIBRATED, MEASURED = 200, 1000  # images at most


@dataclasses.dataclass(frozen=True)
class Samples:
    """Batches of evaluation views, each image once: {"image": float32 [b, H, W, C] in [0, 1], "label"}.

    A label is int64, -1 where it is not known. `split` names the evaluation images.
    """

    training: tf.data.Dataset
    evaluation: tf.data.Dataset
    split: str

    def calibration(self) -> Iterator[np.ndarray]:
        """Images [b, H, W, C] of training."""
        for batch in self.training:
            yield batch["image"].numpy()

    def measured(self) -> Iterator[Mapping[str, np.ndarray]]:
        for batch in self.evaluation:
            yield {"image": batch["image"].numpy(), "label": batch["label"].numpy()}


def for_formats(
    formats: Sequence[str], config: Config, data_dir: str, size: ImageSize | None
) -> Samples | None:
    """`of_run` where a format is measured, else None; None too, and said, where float16 lacks images.

    Raises:
        UsageError: int8 is wanted, which is calibrated on images, and there are none.
    """
    if not set(formats) & set(ROUNDED):
        return None
    try:
        return of_run(config, data_dir, size)
    except UsageError as error:
        if "tflite_int8" in formats:
            raise UsageError(f"--format=tflite_int8 calibrates on the run's images: {error}") from error
        print(f"warning: the drop is not measured: {error}")
        return None


def of_run(config: Config, data_dir: str, size: ImageSize | None) -> Samples:
    """The images of the run with that configuration, spread evenly over its splits.

    Args:
        data_dir: where the data set is now; empty: where the run had it.
        size: of the views; None: the run's.

    Raises:
        UsageError: the data set cannot be opened, or has nothing to measure on.
    """
    changes: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}
    config = config.replace(**changes, image_size=size or config.data.image_size, model_dir="")
    training, evaluation = inputs.train_source(config), inputs.optional_eval_source(config)
    if evaluation is None:
        raise UsageError(f"--dataset={training.name}: no split to measure on; its run had none either")
    split = f"{evaluation.name} {evaluation.split}"
    return Samples(_few(config, training, CALIBRATED), _few(config, evaluation, MEASURED), split)


def _few(config: Config, source: Source, most: int) -> tf.data.Dataset:
    return inputs.evaluation_batches(config.data, inputs.few(source, most))
