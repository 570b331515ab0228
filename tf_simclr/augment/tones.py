"""Operations on the tones of images [B, H, W, 3] in [0, 1], as Pillow has them, by KerasCV where it has them.

Magnitudes are numbers an image, [B]. Where Pillow works with bytes, so does KerasCV, but for rounding.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.augment.keras_cv_layers import keras_cv_layers
from tf_simclr.augment.pixels import per_image

_LUMA = (0.299, 0.587, 0.114)
_RANGE = {"value_range": (0.0, 1.0), "dtype": "float32"}
_FEWEST_BITS = 4
_LEVELS = 255.0


def saturated(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Away from grey by `amount`; -1 is grey, 0 the image."""
    layer = keras_cv_layers().RandomColorDegeneration(factor=0.0, dtype="float32")
    return _unit(layer.augment_images(images, per_image(-amount)))


def sharpened(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Away from the image smoothed over 3 x 3 pixels by `amount`; 0 is the image."""
    layer = keras_cv_layers().RandomSharpness(factor=0.0, **_RANGE)
    return _unit(layer.augment_images(images, per_image(-amount)))


def contrasted(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Away from the mean of the image's luma by `amount`; KerasCV has the mean of each channel."""
    luma = tf.reduce_sum(images * tf.constant(_LUMA), axis=3, keepdims=True)
    mean = tf.reduce_mean(luma, axis=[1, 2], keepdims=True)
    return _unit(images + per_image(amount) * (images - mean))


def solarized(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """1 - pixel from the threshold in [0, 1] on."""
    layer = keras_cv_layers().Solarization(**_RANGE)
    drawn = {"thresholds": per_image(_LEVELS * threshold), "additions": tf.constant(0.0)}
    return layer.augment_images(images, drawn)


def posterized(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """The highest 4 to 8 bits of every channel's byte; a layer of KerasCV has one number of bits."""
    rounded = tf.round(images * _LEVELS) / _LEVELS
    results = images
    for count in range(_FEWEST_BITS, 9):
        layer = keras_cv_layers().Posterization(bits=count, **_RANGE)
        results = tf.where(per_image(tf.equal(bits, count)), layer.augment_image(rounded), results)
    return results


def auto_contrasted(images: tf.Tensor) -> tf.Tensor:
    """Every channel stretched to [0, 1]; one of a single level stays."""
    return keras_cv_layers().AutoContrast(**_RANGE).augment_images(images)


def _unit(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 1.0)
