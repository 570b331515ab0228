"""Sobel filtering: edges in place of the image (Fig. 4j)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.by_chance import Factors, NotCompiled


class Sobel(NotCompiled):
    """The length of each channel's gradient by Sobel's filters, as TensorFlow has them, clipped to 1.

    The paper does not say how it shows two derivatives in one image.
    """

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        edges = tf.image.sobel_edges(images)  # [B, H, W, 3, 2]
        return tf.clip_by_value(tf.sqrt(tf.reduce_sum(tf.square(edges), axis=-1)), 0.0, 1.0)
