"""Gaussian noise, another for every pixel and channel (Fig. 4h)."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_simclr.augment.by_chance import Factors, NotCompiled, require_between

_SEEDS = 2**23  # that a float32 uniform tells apart


class GaussianNoise(NotCompiled):
    """Adds noise to every pixel and clips to [0, 1].

    Args:
        probability: of an image to be noisy.
        stddev: of the noise, of pixels in [0, 1]; the paper does not say.

    Raises:
        UsageError: an argument is outside [0, 1].
    """

    own_uniforms = 2

    def __init__(self, probability: float = 1.0, stddev: float = 0.1) -> None:
        super().__init__(probability)
        require_between("stddev", stddev, 0.0, 1.0)
        self.stddev = float(stddev)

    def own_factors(self, uniforms: tf.Tensor) -> Factors:
        """The two words of an image's seed, int32."""
        first, second = tf.unstack(tf.cast(uniforms * _SEEDS, tf.int32), num=2, axis=-1)
        return {"first": first, "second": second}

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        seeds = tf.stack([factors["first"], factors["second"]], axis=-1)  # [B, 2]
        noise = tf.map_fn(lambda seed: _normal(images.shape[1:], seed), seeds, fn_output_signature=tf.float32)
        return tf.clip_by_value(images + self.stddev * noise, 0.0, 1.0)


def _normal(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers, the same compiled or not: of TensorFlow's draws XLA only shares the bits."""
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    high = tf.cast(tf.bitwise.right_shift(bits, 8), tf.float32)  # from -2^23 on, below 2^23
    return math.sqrt(2) * tf.math.erfinv((high + 0.5) / 2**23)
