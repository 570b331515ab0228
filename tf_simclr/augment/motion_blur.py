"""Motion blur: the mean along a line in any direction (App. B.2)."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_simclr.augment.by_chance import Factors, NotCompiled

_POINTS_A_PIXEL = 4  # at which the line is sampled


class MotionBlur(NotCompiled):
    """Blurs along a line of 10 % of the image's height, as long as the Gaussian blur's kernel is wide.

    The paper says neither length nor probability. Outside the image is zero, as with the Gaussian blur.
    """

    own_uniforms = 1

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__(probability)

    def own_factors(self, uniforms: tf.Tensor) -> Factors:
        """The direction, in radians, within half a turn."""
        return {"angle": math.pi * uniforms[..., 0]}

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        height, width = images.shape[1:3]
        radius = int(height // 10 / 2)
        if radius == 0:
            return images
        kernels = line_kernels(factors["angle"], radius)  # [B, k, k]
        batch = tf.shape(images)[0]
        planes = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, height, width, 3 * batch])
        filters = tf.repeat(tf.transpose(kernels, [1, 2, 0]), 3, axis=2)[..., tf.newaxis]  # [k, k, 3B, 1]
        blurred = tf.nn.depthwise_conv2d(planes, filters, [1, 1, 1, 1], "SAME")
        return tf.transpose(tf.reshape(blurred, [height, width, batch, 3]), [2, 0, 1, 3])


def line_kernels(angles: tf.Tensor, radius: int) -> tf.Tensor:
    """Lines through the centre at angles [B], spread linearly over pixels: [B, k, k] that add up to 1.

    k = 2 radius + 1.
    """
    steps = tf.linspace(-float(radius), float(radius), 2 * radius * _POINTS_A_PIXEL + 1)
    offsets = tf.range(-radius, radius + 1)
    weights = [
        tf.nn.relu(
            1.0 - tf.abs((direction[:, tf.newaxis] * steps)[..., tf.newaxis] - tf.cast(offsets, tf.float32))
        )
        for direction in (-tf.sin(angles), tf.cos(angles))
    ]  # of rows and columns, [B, points, k]
    kernels = tf.matmul(*weights, transpose_a=True)
    return kernels / tf.reduce_sum(kernels, axis=[1, 2], keepdims=True)
