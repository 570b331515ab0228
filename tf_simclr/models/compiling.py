"""What `compile` does for both models before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError


def example_image(encoder: tf.keras.Model, image_size: int) -> tf.Tensor:
    """A black image [1, H, W, 3] that the encoder accepts, to create variables with.

    `image_size` stands in for what the encoder does not say: a subclassed model says nothing.
    """
    known = encoder.input_shape[1:] if getattr(encoder, "inputs", None) else (None, None, 3)
    return tf.zeros([1, *(side or image_size for side in known)])


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
