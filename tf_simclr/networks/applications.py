"""Encoders of `keras.applications`, behind the preprocessing that they were made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.errors import UsageError

_FACTOR = 16.0  # a layer that divides by more expects 0..255


def applications(name: str, **arguments: Any) -> tf.keras.Model:
    """`keras.applications`' model `name` as encoder: images [b, H, W, 3] in [0, 1] to h [b, D].

    In front stands the `preprocess_input` of its module, which some have beside the model (ResNet50: BGR
    without the mean; MobileNetV2: [-1, 1]; DenseNet: mean and deviation) and some in it (MobileNetV3,
    EfficientNet, ConvNeXt: 0 to 255).

    Args:
        name: such as MobileNetV3Small.
        arguments: of the model; `weights` is None, `include_top` False, `pooling` "avg" and the size of the
            images free where they do not say otherwise.

    Raises:
        UsageError: there is no such application, or `include_preprocessing` is given.
    """
    preprocessing = Preprocessing(name)
    if "include_preprocessing" in arguments:
        raise UsageError(
            f"applications: include_preprocessing={arguments['include_preprocessing']}: leave it out"
        )
    given = {
        "include_top": False,
        "weights": None,
        "pooling": "avg",
        "input_shape": [None, None, 3],
    } | arguments
    network = getattr(tf.keras.applications, name)(**given)
    images = tf.keras.Input(network.input_shape[1:])
    return tf.keras.Model(images, network(preprocessing(images)), name=network.name)


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class Preprocessing(tf.keras.layers.Layer):
    """`preprocess_input` of an application for images [b, H, W, 3] in [0, 1], which itself wants 0 to 255."""

    def __init__(self, application: str, **options: Any) -> None:
        super().__init__(**options)
        self.application = application
        self._preprocess = _preprocessing(application)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self._preprocess(255 * images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "application": self.application}


def expects_bytes(encoder: tf.keras.Model) -> bool:
    """Whether a layer of Keras's divides images of 0..255, and none before has made them of [0, 1].

    MobileNetV3, EfficientNet, EfficientNetV2, ConvNeXt, RegNet and ResNetRS have such a layer.
    """
    layers = [encoder, *encoder.submodules]
    if any(isinstance(layer, Preprocessing) for layer in layers):
        return False
    divisors = [divisor for layer in layers for divisor in _divisors(layer)]
    return max(divisors, default=0.0) > _FACTOR and min(divisors) > 1 / _FACTOR


def _divisors(layer: tf.Module) -> Iterator[float]:
    """What a layer divides pixels by."""
    if isinstance(layer, tf.keras.layers.Rescaling):
        yield 1 / float(np.max(np.abs(layer.scale)))
    if isinstance(layer, tf.keras.layers.Normalization) and layer.input_variance is not None:
        yield float(np.sqrt(np.max(layer.input_variance)))


def _preprocessing(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """`preprocess_input` beside the model `name`: they come from one module of Keras's."""
    models = {key: model for key, model in vars(tf.keras.applications).items() if key[0].isupper()}
    if name not in models:
        raise UsageError(f"applications: {name!r} is none of {', '.join(sorted(models))}")
    parts = vars(tf.keras.applications).values()
    found = (getattr(part, "preprocess_input", None) for part in parts if isinstance(part, ModuleType))
    return next(one for one in found if one and one.__module__ == models[name].__module__)
