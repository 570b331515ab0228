"""Encoders: what the rest of the code asks of one, and a user's Keras model as one."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from tf_simclr import lookup
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize, height_and_width

FLAG = "encoder"


class Encoder(Protocol):
    """A Keras model of images [b, H, W, C] in [0, 1] to h [b, output_dim]."""

    output_dim: int

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images to h."""

    def freeze(self, last_frozen_group: int) -> None:
        """Freezes the stem (0) and the groups up to that number; -1: nothing, 4: everything."""

    def describe(self) -> str:
        """What it is, in a few words."""


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class KerasEncoder(tf.keras.Model):
    """The Keras model that MODULE:FUNCTION makes, as encoder f: images [b, H, W, C] in [0, 1] to h [b, D].

    h is float32 under mixed precision, else of the Keras float type. Batch norm inside is the model's own:
    not over replicas. Where it draws at random, as dropout does, a resumed run draws anew, and micro-batches
    differentiate other draws than they compared.

    Args:
        maker: MODULE:FUNCTION, or with arguments: MODULE:FUNCTION(key=value, ...).
        image_size: of the images.
        channels: C of the images.

    Raises:
        UsageError: it makes no Keras 2 model, or one whose output is no vector an image.
    """

    def __init__(
        self, maker: str, image_size: ImageSize = 32, channels: int = 3, *, name: str = "encoder"
    ) -> None:
        super().__init__(name=name)
        self.maker, self.image_size, self.channels = maker, image_size, channels
        network = lookup.call(FLAG, maker)
        if not isinstance(network, tf.keras.layers.Layer):
            raise UsageError(
                f"--{FLAG}={maker}: made a {type(network).__module__}.{type(network).__name__}, which is no "
                "Keras 2 model (tf.keras with TF_USE_LEGACY_KERAS=1)"
            )
        self.network = network
        try:
            h = network(tf.zeros([1, *height_and_width(image_size), channels]))
        except ValueError as error:
            raise UsageError(
                f"--{FLAG}={maker}: takes no images of {image_size} px (--image_size)"
                f"{_grey(channels)}: {_line(error)}"
            ) from error
        self.output_dim = require_vectors(f"--{FLAG}={maker}", h).shape[-1]
        self(tf.zeros([1, *height_and_width(image_size), channels]))  # creates what the network has not

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.network(images, training=training), self.variable_dtype)

    def freeze(self, last_frozen_group: int) -> None:
        """Everything (4) or nothing (-1)."""
        if last_frozen_group not in (-1, 4):
            raise UsageError(
                f"--fine_tune_after_block={last_frozen_group}: {self.describe()} has no blocks that we know; "
                "give -1 (train everything) or 4 (train the classifier only)"
            )
        self.trainable = last_frozen_group == -1

    def describe(self) -> str:
        return self.maker

    def get_config(self) -> dict[str, Any]:
        sizes = {"image_size": self.image_size, "channels": self.channels}
        return {"maker": self.maker, **sizes, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> KerasEncoder:
        return cls(**config)


def _grey(channels: int) -> str:
    return "" if channels == 3 else f" of {channels} channels (--channels)"


def require_vectors(name: str, h: Any) -> tf.Tensor:
    """What the encoder that `name` says gives for images: h [b, D].

    Raises:
        UsageError: it is no tensor, or has another rank.
    """
    if not tf.is_tensor(h):
        raise UsageError(f"{name}: gives a {type(h).__name__} for images; give one tensor [b, D]")
    if h.shape.rank != 2 or not h.dtype.is_floating:
        raise UsageError(
            f"{name}: gives {h.dtype.name} {h.shape.as_list()}, not one vector an image; end it with global "
            "average pooling (keras.applications: pooling='avg', include_top=False)"
        )
    return h


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
