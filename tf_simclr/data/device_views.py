"""Views made in the train step, of images that lie in the memory of its device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.data.resident import Resident, Shape
from tf_simclr.data.resizing import resizing
from tf_simclr.image_size import ImageSize, height_and_width

_FLOAT = 4  # bytes


def bytes_at_work(shape: Shape, image_size: ImageSize, num_views: int) -> int:
    """Memory that an image of this shape takes while `DeviceViews` makes its views; an upper bound."""
    (tall, wide, channels), (height, width) = shape, height_and_width(image_size)
    weights = height * tall + width * wide
    products = height * channels * (wide + width)
    as_bytes = tall * wide * channels + num_views * height * width * channels
    return as_bytes + _FLOAT * (tall * wide * channels + num_views * (weights + products))


class DeviceViews:
    """Makes what `crop_batches` gives into what `pretraining_batches` does, to a grey level.

    A crop that is resized and flipped is two products with matrices of weights: shapes are static, and each
    kernel of it has one for XLA. The images are a variable of the strategy in scope, a copy a replica; no
    model tracks it, so that no checkpoint holds it.
    """

    def __init__(self, images: Resident, image_size: ImageSize) -> None:
        self._images = tf.Variable(images.pixels, trainable=False, name="resident_images")
        self._size = height_and_width(image_size)
        self._weights = tf.function(self._weights_of, jit_compile=True)  # fused: twice as fast as apart

    def __call__(self, batch: Any) -> Any:
        """The batch with "views", uint8 [B, V, H, W, C]; one that has no "boxes" as it is."""
        if not isinstance(batch, Mapping) or "boxes" not in batch:
            return batch
        rows, columns = self._weights(batch["boxes"], batch["flipped"])
        views = self._cropped(tf.gather(self._images, batch["index"]), rows, columns)
        return {**batch, "views": views}

    def _weights_of(self, boxes: tf.Tensor, flipped: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Matrices of rows [B, V, H, h] and of columns [B, V, W, w], for images of h x w."""
        top, left, height, width = tf.unstack(boxes, axis=-1)  # each [B, V]
        _, tall, _, wide = self._images.shape
        rows = resizing(top, height, tall, self._size[0])
        return rows, resizing(left, width, wide, self._size[1], mirrored=flipped)

    def _cropped(self, images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Images [B, h, C, w] as views [B, V, H, W, C]."""
        _, tall, channels, wide = images.shape
        (height, width), count = self._size, rows.shape[1]
        pixels = tf.reshape(tf.cast(images, tf.float32), [-1, tall, channels * wide])
        pixels = tf.matmul(tf.reshape(rows, [-1, count * height, tall]), pixels)  # [B, V * H, C * w]
        pixels = tf.reshape(pixels, [-1, count, height * channels, wide])
        pixels = tf.matmul(pixels, columns, transpose_b=True)  # [B, V, H * C, W]
        pixels = tf.reshape(pixels, [-1, count, height, channels, width])
        pixels = tf.transpose(pixels, [0, 1, 2, 4, 3])  # as floats: TensorFlow is slower to move bytes
        return tf.cast(tf.clip_by_value(pixels + 0.5, 0.0, 255.0), tf.uint8)  # rounded, for a cast truncates
