"""Histogram equalisation of each channel (App. B.2; AutoAugment)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.by_chance import ByChance, Factors

_LEVELS = 256


class Equalization(ByChance):
    """Levels as equally frequent as they can be made by a table for each channel, as Pillow's `equalize`.

    Ours, not KerasCV's, which has no XLA kernel, and whose table's step leaves out the rarest level where
    Pillow's leaves out the brightest.
    """

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        return equalized(images)


def equalized(images: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, 3], float32 in [0, 1], in 256 levels."""
    height, width = images.shape[1:3]
    levels = tf.cast(tf.round(images * (_LEVELS - 1)), tf.int32)
    levels = tf.reshape(tf.transpose(levels, [0, 3, 1, 2]), [-1, height * width])  # [3B, HW]
    counts = tf.raw_ops.DenseBincount(input=levels, size=_LEVELS, weights=tf.constant([], tf.int32))
    brightest = tf.reduce_max(levels, axis=1)
    step = (height * width - tf.gather(counts, brightest, batch_dims=1)) // (_LEVELS - 1)  # [3B]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = (below + step[:, tf.newaxis] // 2) // tf.maximum(step, 1)[:, tf.newaxis]
    table = tf.where(step[:, tf.newaxis] == 0, tf.range(_LEVELS), tf.minimum(table, _LEVELS - 1))
    planes = tf.reshape(tf.gather(table, levels, batch_dims=1), [-1, 3, height, width])
    return tf.cast(tf.transpose(planes, [0, 2, 3, 1]), tf.float32) / (_LEVELS - 1)
