"""Augmentations that run on the device, on whole batches, with the randomness given."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.augment.color_distortion import ColorDistortion
from tf_simclr.augment.gaussian_blur import GaussianBlur

__all__ = ["Augmentations", "ColorDistortion", "GaussianBlur"]


class Augmentations:
    """Several augmentations in sequence, driven by one row of uniform numbers a view.

    Args:
        layers: such as `[ColorDistortion(), GaussianBlur()]`; an empty list is the identity.
        jit_compile: compile the pixel work with XLA, also where the surrounding train step is not
            compiled (it is three times as fast on CPU). H and W must be static either way.
    """

    def __init__(self, layers: Sequence[ColorDistortion | GaussianBlur], jit_compile: bool = True) -> None:
        self.layers = tuple(layers)
        self.num_uniforms = sum(layer.num_uniforms for layer in self.layers)
        self._paint = tf.function(self._apply, jit_compile=True) if jit_compile else self._apply

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turns U[0, 1) numbers [..., num_uniforms] into the factors of all layers, each [...]."""
        factors: dict[str, tf.Tensor] = {}
        start = 0
        for layer in self.layers:
            factors |= layer.factors_from_uniforms(uniforms[..., start : start + layer.num_uniforms])
            start += layer.num_uniforms
        return factors

    def __call__(self, images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Augments images [B, H, W, 3], uint8 or float32 in [0, 1], with uniforms [B, num_uniforms].

        Returns:
            float32 images [B, H, W, 3] in [0, 1].
        """
        return self._paint(images, self.factors_from_uniforms(uniforms))

    def _apply(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        # The clipping changes nothing but keeps XLA from fusing this product into the sum of the brightness:
        # TensorFlow 2.21 does so for some uses of a pixel and not for others, and the red that is then not
        # equal to the largest channel, itself, gives a pixel of a wrong hue.
        images = tf.clip_by_value(tf.image.convert_image_dtype(images, tf.float32), 0.0, 1.0)
        for layer in self.layers:
            images = layer(images, factors)
        return images
