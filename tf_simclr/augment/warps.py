"""Rotation and shear of images [B, H, W, 3] by the nearest pixel, as Pillow has them.

KerasCV's transformations have no XLA kernel.
"""

from __future__ import annotations

import tensorflow as tf

FILL = 128 / 255  # what comes from outside is mid-grey, as in the TensorFlow code of AutoAugment's authors


def rotated(images: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """By `angle` [B] in radians, counter-clockwise, around the centre."""
    height, width = images.shape[1:3]
    y, x = _centers(height, width)
    cos, sin = (function(angle)[:, tf.newaxis, tf.newaxis] for function in (tf.cos, tf.sin))
    across, down = x - width / 2, y - height / 2
    return _sampled(images, height / 2 + sin * across + cos * down, width / 2 + cos * across - sin * down)


def sheared(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Each row shifted to the left by `amount` [B] times its distance from the upper edge."""
    y, x = _centers(*images.shape[1:3])
    x = x + amount[:, tf.newaxis, tf.newaxis] * y
    return _sampled(images, tf.broadcast_to(y, tf.shape(x)), x)


def _centers(height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Pixels' centres: y [H, 1] and x [1, W]."""
    return (
        tf.range(height, dtype=tf.float32)[:, tf.newaxis] + 0.5,
        tf.range(width, dtype=tf.float32)[tf.newaxis] + 0.5,
    )


def _sampled(images: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """The pixels that hold the points (y, x), each [B, H, W]."""
    height, width = images.shape[1:3]
    row, column = tf.cast(tf.floor(y), tf.int32), tf.cast(tf.floor(x), tf.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = tf.where(inside, row * width + column, 0)
    pixels = tf.gather(
        tf.reshape(images, [-1, height * width, 3]), tf.reshape(index, [-1, height * width]), batch_dims=1
    )
    return tf.where(inside[..., tf.newaxis], tf.reshape(pixels, [-1, height, width, 3]), FILL)
