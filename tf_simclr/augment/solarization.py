"""Solarisation: what is brighter than a threshold is inverted (BYOL, Barlow Twins)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.augment.keras_cv_layers import keras_cv_layers
from tf_simclr.augment.pixels import as_float
from tf_simclr.errors import UsageError


class Solarization:
    """Inverts the pixels from a threshold on, in some images (BYOL App. B).

    Args:
        probability: of an image to be solarised.
        threshold: in [0, 1]; pixels from it on become 1 - pixel.

    Raises:
        UsageError: an argument is outside [0, 1].
    """

    num_uniforms = 1

    def __init__(self, probability: float = 0.2, threshold: float = 0.5) -> None:
        for name, value in (("probability", probability), ("threshold", threshold)):
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"{name} of the solarisation {value}: give a number from 0 to 1.")
        self.probability = float(probability)
        self.threshold = float(threshold)
        self._solarize = keras_cv_layers().Solarization(value_range=(0.0, 1.0), dtype="float32")

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turns U[0, 1) numbers [..., 1] into `solarize` (bool), [...]."""
        return {"solarize": uniforms[..., 0] < self.probability}

    def draw(self, batch_size: int, seed: Sequence[int] | tf.Tensor) -> dict[str, tf.Tensor]:
        """Factors of `batch_size` views, a function of `seed` (two integers) alone."""
        return self.factors_from_uniforms(tf.random.stateless_uniform([batch_size, self.num_uniforms], seed))

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Solarises images [B, H, W, C], uint8 or float32 in [0, 1]; those not drawn pass bit for bit."""
        images = as_float(images)
        drawn = {"thresholds": tf.constant(255.0 * self.threshold), "additions": tf.constant(0.0)}
        solarized = self._solarize.augment_images(images, drawn)  # KerasCV counts to 255
        return tf.where(factors["solarize"][:, tf.newaxis, tf.newaxis, tf.newaxis], solarized, images)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"probability": self.probability, "threshold": self.threshold}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Solarization:
        """The layer that `get_config` described."""
        return cls(**config)
