"""Gaussian blur of a batch of views (SimCLR App. A), a sigma an image, draws given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.augment.keras_cv_layers import keras_cv_layers
from tf_simclr.augment.pixels import as_float
from tf_simclr.errors import UsageError


class GaussianBlur:
    """Blurs an image with some probability, with a kernel of 10% of its height (SimCLR App. A).

    The paper draws a sigma for every image, the authors' code one for the batch; this follows the paper.
    Outside the image is zero, as in the authors' code.

    Args:
        probability: of an image to be blurred.
        sigma_min: lowest standard deviation of the kernel, in pixels, above 0.
        sigma_max: highest.

    Raises:
        UsageError: the probability is outside [0, 1], or not 0 < sigma_min <= sigma_max.
    """

    num_uniforms = 2  # blur or not, sigma

    def __init__(self, probability: float = 0.5, sigma_min: float = 0.1, sigma_max: float = 2.0) -> None:
        if not 0.0 <= probability <= 1.0:
            raise UsageError(f"probability of the blur {probability}: give a number from 0 to 1.")
        if not 0.0 < sigma_min <= sigma_max:
            raise UsageError(
                f"sigma of the blur {sigma_min} to {sigma_max}: give 0 < sigma_min <= sigma_max."
            )
        self.probability = float(probability)
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self._get_kernel = keras_cv_layers().RandomGaussianBlur.get_kernel

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turns U[0, 1) numbers [..., 2] into `blur` (bool) and `sigma` (float32, pixels), each [...]."""
        blur, sigma = tf.unstack(uniforms, num=self.num_uniforms, axis=-1)
        return {
            "blur": blur < self.probability,
            "sigma": self.sigma_min + (self.sigma_max - self.sigma_min) * sigma,
        }

    def draw(self, batch_size: int, seed: Sequence[int] | tf.Tensor) -> dict[str, tf.Tensor]:
        """Factors of `batch_size` views, a function of `seed` (two integers) alone."""
        return self.factors_from_uniforms(tf.random.stateless_uniform([batch_size, self.num_uniforms], seed))

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Blurs images [B, H, W, C], uint8 or float32 in [0, 1], of static H and W, to float32.

        Those not drawn pass bit for bit.
        """
        images = as_float(images)
        height, width = images.shape[1:3]
        radius = int(height // 10 / 2)  # authors' code: 11 at 224 px, 1 at 32 px, none below 20 px
        if radius == 0:
            return images
        kernels = self._get_kernel(factors["sigma"][:, tf.newaxis], 2 * radius + 1)  # [B, 2 radius + 1]
        kernels /= tf.reduce_sum(kernels, axis=1, keepdims=True)  # get_kernel divides by the batch's sum
        planes = tf.transpose(images, [0, 3, 1, 2])  # [B, C, H, W]
        planes = _band_matrices(kernels, height) @ planes @ _band_matrices(kernels, width)
        blurred = tf.transpose(planes, [0, 2, 3, 1])
        return tf.where(factors["blur"][:, tf.newaxis, tf.newaxis, tf.newaxis], blurred, images)

    def compiled(self) -> Callable[..., tf.Tensor]:
        """The same, compiled by XLA."""
        return tf.function(self.__call__, jit_compile=True)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"probability": self.probability, "sigma_min": self.sigma_min, "sigma_max": self.sigma_max}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GaussianBlur:
        """The layer that `get_config` described."""
        return cls(**config)


def _band_matrices(kernels: tf.Tensor, size: int) -> tf.Tensor:
    """Zero-padded convolution with symmetric kernels [B, 2r+1] as matrices [B, 1, size, size].

    A depthwise convolution with a kernel an image is fast in a graph and very slow under XLA on CPU; a
    product with a band matrix is fast in both.
    """
    radius = kernels.shape[1] // 2
    diagonals = tf.repeat(kernels[:, :, tf.newaxis], size, axis=2)  # [B, 2r+1, size]
    bands = tf.linalg.diag(diagonals, k=(-radius, radius), num_rows=size, num_cols=size)
    return bands[:, tf.newaxis]
