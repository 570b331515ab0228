"""What `compile` does for both models before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize, height_and_width


def example_image(encoder: tf.keras.Model, image_size: ImageSize) -> tf.Tensor:
    """A black image [1, H, W, C] that the encoder accepts, to create variables with.

    `image_size` and three channels stand in for what the encoder does not say: a subclassed model says no
    size, and its channels only by an attribute `channels`, as ours do.
    """
    known = encoder.input_shape[1:] if getattr(encoder, "inputs", None) else (None, None, None)
    wanted = (*height_and_width(image_size), getattr(encoder, "channels", 3))
    return tf.zeros([1, *(own or asked for own, asked in zip(known, wanted, strict=True))])


def exclude_from_decay(optimizer: Any, model: tf.keras.Model) -> None:
    """Keeps batch norm, biases and the linear classifier from weight decay and layer adaptation.

    Batch norm's variables and biases are the vectors; they are known by what they are, not by name. A
    LossScaleOptimizer hands on to the optimizer inside. TensorFlow Addons' LAMB has a list in the method's
    place: `make_optimizer` has filled it.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not callable(getattr(optimizer, "exclude_from_weight_decay", None)):
        return
    vectors = [variable for variable in model.trainable_variables if variable.shape.rank <= 1]
    classifier = model.classifier.trainable_variables if model.classifier is not None else []
    optimizer.exclude_from_weight_decay(var_list=[*vectors, *(v for v in classifier if v.shape.rank > 1)])


def keep_rate(optimizer: Any, layers: Sequence[tf.keras.layers.Layer]) -> None:
    """Takes layers out of the rate's schedule: they keep its peak.

    Raises:
        UsageError: the optimizer can't, as where LARS divides the gradient's size out.
    """
    if not layers:
        return
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not hasattr(optimizer, "keep_rate"):
        raise UsageError(
            f"--optimizer={type(optimizer).__name__.lower()}: layers can keep their rate with momentum or "
            "nesterov only (tf_simclr.optimizers.SGD)"
        )
    optimizer.keep_rate([variable for layer in layers for variable in layer.trainable_variables])
