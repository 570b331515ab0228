"""Bicubic resizing of crops as products with matrices of weights: whole batches, on any device.

`tf.image.resize` takes images of one size, has no XLA kernel, and cannot crop.
"""

from __future__ import annotations

import tensorflow as tf

_CUBIC = -0.5  # Keys' coefficient, as tf.image.resize has it
_STEPS = 1024  # a pixel, that tf.image.resize rounds places to: it looks its weights up in a table


def resizing(
    start: tf.Tensor, length: tf.Tensor, source: int, size: int, mirrored: tf.Tensor | bool = False
) -> tf.Tensor:
    """Matrices that resize stretches of `source` pixels to `size`, with the weights of tf.image.resize.

    Args:
      start, length: int [...]: the pixels [start, start + length) are resized, and no others looked at.
      mirrored: bool [...], which results are turned round.

    Returns:
      float32 [..., size, source].
    """
    begin, extent = (tf.cast(value, tf.float32)[..., tf.newaxis] for value in (start, length))
    places = tf.range(size, dtype=tf.float32)
    places = tf.where(tf.convert_to_tensor(mirrored)[..., tf.newaxis], size - 1 - places, places)
    centers = (places + 0.5) * (extent / size) - 0.5  # [..., size], in pixels of the stretch
    whole = tf.floor(centers)
    centers = begin + (whole + tf.round((centers - whole) * _STEPS) / _STEPS)
    begin, extent, centers = (value[..., tf.newaxis] for value in (begin, extent, centers))
    return interpolation(centers, begin, extent, source)


def interpolation(centers: tf.Tensor, start: tf.Tensor, length: tf.Tensor, source: int) -> tf.Tensor:
    """The weights of `source` pixels at `centers` [..., size, 1]: float32 [..., size, source].

    Those outside of [start, start + length), both [..., 1, 1], are left out, the others then add up to 1.
    """
    pixels = tf.range(source, dtype=tf.float32)
    inside = (pixels >= start) & (pixels < start + length)
    weights = tf.where(inside, _cubic(tf.abs(centers - pixels)), 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    """Keys' kernel at distances x >= 0."""
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return tf.where(x < 1, near, tf.where(x < 2, far, 0.0))
