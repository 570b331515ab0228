"""CURL's encoder of pixels (arXiv:2004.04136; encoder.py of the authors' code)."""

from __future__ import annotations

import tensorflow as tf


def pixels(
    dim: int = 50, filters: int = 32, layers: int = 4, strided: int = 1, side: int = 84
) -> tf.keras.Sequential:
    """3x3 convolutions, the first of stride 2, then a dense layer of `dim` units and layer norm.

    Without padding: 84 px become 35 with four layers. Keras's initial weights are not the authors', which
    are orthogonal.

    Args:
        dim: width of h.
        filters: of every convolution.
        layers: convolutions.
        strided: of the layers, the first ones, that have stride 2. More of them see farther and cost less.
        side: of the images, in pixels; those of another size are resized first.
    """
    start = tf.keras.layers.Resizing(side, side)  # leaves those of this size as they are
    convolutions = [
        tf.keras.layers.Conv2D(filters, 3, strides=2 if number < strided else 1, activation="relu")
        for number in range(layers)
    ]
    end = [tf.keras.layers.Flatten(), tf.keras.layers.Dense(dim)]
    return tf.keras.Sequential([start, *convolutions, *end, tf.keras.layers.LayerNormalization(epsilon=1e-5)])
