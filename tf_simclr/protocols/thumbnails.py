"""Small pictures of the images of a source, whole."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_simclr.data import Source
from tf_simclr.data.records import Record


def of_images(source: Source, indices: np.ndarray, side: int) -> dict[int, np.ndarray]:
    """The images at `indices`, by index: uint8 [h, w, 3], the longer side at most `side` pixels."""
    chosen = np.unique(indices)
    part = source.subset(chosen)

    def pixels(record: Record) -> tf.Tensor:
        image = part.decode_for_boxes(record["image"], _whole, side)[0]
        return tf.image.grayscale_to_rgb(image) if source.channels == 1 else image

    decoded = part.records().map(pixels, num_parallel_calls=2)
    small = (_shrunk(image, side) for image in decoded.as_numpy_iterator())
    return dict(zip(chosen.tolist(), small, strict=True))


def _whole(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    return tf.stack([[0, 0, height, width]])


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)
