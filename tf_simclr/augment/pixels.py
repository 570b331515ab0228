"""Pixels as augmentations take them."""

from __future__ import annotations

import tensorflow as tf


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Images of any type to float32 in [0, 1]; float32 ones as they are.

    The clipping changes no uint8 image. Where a whole step is compiled, XLA of TensorFlow 2.21 otherwise
    fuses the product of the conversion into the sum of the brightness for some uses of a pixel only; no
    channel then equals the largest one, and the hue is wrong.
    """
    if images.dtype == tf.float32:
        return images
    return tf.clip_by_value(tf.image.convert_image_dtype(images, tf.float32), 0.0, 1.0)


def per_image(factor: tf.Tensor) -> tf.Tensor:
    """A number an image, [B], as a factor of pixels: [B, 1, 1, 1]."""
    return factor[:, tf.newaxis, tf.newaxis, tf.newaxis]
