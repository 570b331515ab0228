"""Pixels as augmentations take them."""

from __future__ import annotations

import tensorflow as tf


def as_float(images: tf.Tensor) -> tf.Tensor:
    """uint8 images to float32 in [0, 1]; float32 ones as they are.

    The clipping changes nothing but keeps XLA from fusing this product into the sum of the brightness.
    TensorFlow 2.21 does so for some uses of a pixel and not for others: the red that is then not equal to the
    largest channel, itself, gives a pixel of a wrong hue.
    """
    if images.dtype == tf.float32:
        return images
    return tf.clip_by_value(tf.image.convert_image_dtype(images, tf.float32), 0.0, 1.0)
