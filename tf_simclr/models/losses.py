"""What the train steps share: images as floats, classification and layer losses, kernels that decay."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_simclr.replicas.gather import replica_share, sum_replicas

REPLICAS_AGREE = "first"
"""How `fit` takes one value of a metric from its replicas: any, since `result()` is global on all of them.
Left to itself it would add the workers' up."""


def in_unit_range(images: tf.Tensor) -> tf.Tensor:
    """Images in [0, 1]: uint8 is divided by 255, floats pass (`contracts` lets no other type come here)."""
    return tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images


def layer_losses(parts: Sequence[tf.keras.layers.Layer], dtype: tf.DType) -> tf.Tensor:
    """A replica's part of the losses that a user's own layers ask for, such as kernel regularisers."""
    losses = [tf.cast(loss, dtype) for part in parts for loss in part.losses]
    return replica_share(tf.add_n([tf.zeros([], dtype), *losses]))


def labelled_rows(labels: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """How many rows of all replicas have a label (not -1)."""
    return sum_replicas(tf.reduce_sum(tf.cast(labels >= 0, dtype)))


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, rows: tf.Tensor | None = None) -> tf.Tensor:
    """A replica's part of the mean softmax cross-entropy over the global batch: the parts add up to it.

    Args:
        logits: [b, C], float.
        labels: [b], integers; rows without a label (-1) do not count, so replicas may hold unequal numbers.
        rows: their `labelled_rows`, where they are known.
    """
    labelled = tf.cast(labels >= 0, logits.dtype)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.maximum(labels, 0), logits=logits)
    rows = labelled_rows(labels, logits.dtype) if rows is None else rows
    return tf.math.divide_no_nan(tf.reduce_sum(losses * labelled), rows)


def kernels(part: tf.Module) -> list[tf.Variable]:
    """What weight decay applies to: trained variables but for biases and batch norm, which are vectors."""
    return [variable for variable in part.trainable_variables if variable.shape.rank > 1]
