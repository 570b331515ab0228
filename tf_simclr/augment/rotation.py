"""Rotation by quarters of a turn (Fig. 4f)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.by_chance import ByChance, Factors
from tf_simclr.augment.pixels import per_image


class Rotation(ByChance):
    """Rotates square images by 90, 180 or 270 degrees, each as likely."""

    own_uniforms = 1

    def own_factors(self, uniforms: tf.Tensor) -> Factors:
        """Quarters of a turn, counter-clockwise: int32 from 1 to 3."""
        return {"quarters": 1 + tf.cast(3 * uniforms[..., 0], tf.int32)}

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        quarters = per_image(factors["quarters"])
        one, two, three = (tf.image.rot90(images, count) for count in (1, 2, 3))
        return tf.where(quarters == 1, one, tf.where(quarters == 2, two, three))
