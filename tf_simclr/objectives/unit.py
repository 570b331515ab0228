"""Projections on the unit sphere, in float32 at least."""

from __future__ import annotations

import tensorflow as tf

_SHORTEST = 2.0**-14  # float16 loses digits below it


def unit(z: tf.Tensor) -> tf.Tensor:
    """z / |z| of every row of z [b, d], any float dtype; float32, of float64 rows float64.

    float16 cannot hold the epsilon that keeps a row of zeros finite, nor the gradient that such a row would
    get through it: one too short to have a direction gets none. Other rows are `tf.math.l2_normalize`d.
    """
    wide = z if z.dtype == tf.float64 else tf.cast(z, tf.float32)
    if z.dtype == tf.float16:
        short = tf.reduce_sum(tf.square(wide), axis=-1, keepdims=True) < _SHORTEST**2
        wide = tf.where(short, tf.stop_gradient(wide), wide)
    return tf.math.l2_normalize(wide, axis=-1)
