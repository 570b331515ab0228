"""Cutout: a square of the image is painted over (DeVries & Taylor, 2017, arXiv:1708.04552; Fig. 4g)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.by_chance import ByChance, Factors, require_between
from tf_simclr.augment.keras_cv_layers import keras_cv_layers


class Cutout(ByChance):
    """Paints a square mid-grey whose centre lies anywhere in the image; it is cut at the borders.

    Args:
        probability: of an image to be cut.
        size: side of the square as a fraction of the image's; the SimCLR paper does not say.

    Raises:
        UsageError: an argument is outside [0, 1].
    """

    own_uniforms = 2

    def __init__(self, probability: float = 1.0, size: float = 0.5) -> None:
        super().__init__(probability)
        require_between("size", size, 0.0, 1.0)
        self.size = float(size)
        self._cutout = keras_cv_layers().RandomCutout(0.0, 0.0, fill_value=0.5, dtype="float32")

    def own_factors(self, uniforms: tf.Tensor) -> Factors:
        """The centre, as fractions of height and width."""
        return {"y": uniforms[..., 0], "x": uniforms[..., 1]}

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        height, width = images.shape[1:3]
        drawn = {
            "centers_y": tf.cast(factors["y"] * height, tf.int32),
            "centers_x": tf.cast(factors["x"] * width, tf.int32),
            "rectangles_height": tf.fill(tf.shape(factors["y"]), round(self.size * height)),
            "rectangles_width": tf.fill(tf.shape(factors["x"]), round(self.size * width)),
        }
        return self._cutout.augment_images(images, drawn)
