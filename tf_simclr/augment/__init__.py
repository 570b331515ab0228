"""Augmentations that run on the device, on whole batches, with the randomness given."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.augment.color_distortion import ColorDistortion
from tf_simclr.augment.gaussian_blur import GaussianBlur
from tf_simclr.augment.pixels import as_float

__all__ = ["Augmentations", "ColorDistortion", "GaussianBlur"]


class Augmentations:
    """Several augmentations in sequence, driven by one row of uniform numbers a view.

    Args:
        layers: such as `[ColorDistortion(), GaussianBlur()]`; an empty list is the identity.
        jit_compile: compile the pixel work with XLA, also where the surrounding train step is not
            compiled. H and W must be static either way.
    """

    def __init__(self, layers: Sequence[ColorDistortion | GaussianBlur], jit_compile: bool = True) -> None:
        self.layers = tuple(layers)
        self.num_uniforms = sum(layer.num_uniforms for layer in self.layers)
        self._painters = [layer.compiled() if jit_compile else layer for layer in self.layers]

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
        factors = self.factors_from_uniforms(uniforms)
        for paint in self._painters:
            images = paint(images, factors)
        return as_float(images)
