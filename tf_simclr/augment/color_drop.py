"""Colours dropped, the second half of the colour distortion by itself (Fig. 4d)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.by_chance import ByChance, Factors
from tf_simclr.augment.color_distortion import GREY_PROBABILITY
from tf_simclr.augment.keras_cv_layers import keras_cv_layers


class ColorDrop(ByChance):
    """Three equal channels (App. A)."""

    def __init__(self, probability: float = GREY_PROBABILITY) -> None:
        super().__init__(probability)
        self._grey = keras_cv_layers().Grayscale(output_channels=3, dtype="float32")

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        return self._grey.augment_images(images)
