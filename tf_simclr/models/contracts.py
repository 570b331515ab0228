"""What the models ask of their parts and of a batch: refused in one line when it is first met."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.networks.applications import expects_bytes
from tf_simclr.networks.encoders import require_vectors
from tf_simclr.replicas.gather import num_replicas, sum_replicas

RANGE = "floats that are no images in [0, 1]: divide those of 0 to 255 by 255, or give uint8"
SHARES = "replicas need equal shares: batch(..., drop_remainder=True)"
_FARTHEST = 0.5  # beyond [0, 1]: bicubic resizing overshoots, by less


def require_keras_2(name: str, part: Any) -> None:
    """UsageError where `part` is no layer or model of `tf.keras`."""
    if isinstance(part, tf.keras.layers.Layer):
        return
    kind = f"{type(part).__module__}.{type(part).__name__}"
    if kind.startswith("keras."):
        raise UsageError(
            f"{name}: a {kind} is of Keras 3, and the models here are of Keras 2: make it with tf.keras, "
            "after importing tf_simclr (TF_USE_LEGACY_KERAS=1)"
        )
    raise UsageError(f"{name}: a {kind} is no layer or model of tf.keras")


def representation(encoder: tf.keras.Model, image: tf.Tensor, pretraining: bool) -> tf.Tensor:
    """h [1, D] of an image [1, H, W, C].

    Raises:
        UsageError: the encoder gives anything else; or, in pretraining, it rescales 0 to 255 itself. One that
            was pretrained so is evaluated with a warning.
    """
    if expects_bytes(encoder):
        mistake = (
            f"encoder: {encoder.name} rescales images of 0 to 255 itself, and is given [0, 1], nearly black "
            "to it: take networks.applications(NAME), which has keras.applications' preprocessing in front "
            "(--encoder=\"tf_simclr.networks:applications(name='NAME')\")"
        )
        if pretraining:
            raise UsageError(mistake)
        print(f"warning: {mistake}", file=sys.stderr)
    return require_vectors("encoder", encoder(image))


def mapping(batch: Any, keys: str) -> Mapping[str, tf.Tensor]:
    """The batch, out of the 1-tuple that Keras makes of a dict of arrays.

    Raises:
        UsageError: it is no dict with `keys`, separated by spaces.
    """
    if isinstance(batch, tuple) and len(batch) == 1:
        (batch,) = batch
    wanted = ", ".join(map(repr, keys.split()))
    if not isinstance(batch, Mapping):
        raise UsageError(f"a batch is a {type(batch).__name__}: give a dict of {wanted}")
    if missing := [key for key in keys.split() if key not in batch]:
        raise UsageError(f"a batch has {', '.join(map(repr, batch)) or 'nothing'}: {missing[0]!r} is missing")
    return batch


def check_views(views: tf.Tensor, num_views: int) -> None:
    """UsageError unless views are [N, V, H, W, C] uint8 or floats, on several replicas of a known N."""
    shape = views.shape
    if shape.rank != 5 or shape[1] != num_views:
        found = shape.as_list() if shape.rank is not None else "of unknown shape"
        raise UsageError(f"views: {found}; give [N, {num_views}, H, W, C], {num_views} views of each image")
    check_type("views", views)
    if shape[0] is None and num_replicas() > 1:
        _require_equal_shares(tf.shape(views)[0])


def _require_equal_shares(images: tf.Tensor) -> None:
    """Refuses a batch of unknown size; among workers, whose iterators forget sizes, has unequal ones fail.

    Raises:
        UsageError: one worker has several replicas.
    """
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        raise UsageError(f"views: {num_replicas()} {SHARES}, of a size that {num_replicas()} divides")
    own = tf.cast(images, tf.float32)
    everyones = sum_replicas(own)
    tf.debugging.Assert(tf.equal(everyones, own * num_replicas()), [SHARES, own, everyones])


def check_type(name: str, images: tf.Tensor) -> None:
    """UsageError unless images are uint8 or floats."""
    if images.dtype != tf.uint8 and not images.dtype.is_floating:
        raise UsageError(f"{name}: {images.dtype.name}; give uint8 of 0 to 255, or floats in [0, 1]")


def check_labels(labels: tf.Tensor) -> None:
    """UsageError unless labels are int32 or int64 [N]."""
    if labels.shape.rank not in (1, None) or labels.dtype not in (tf.int32, tf.int64):
        raise UsageError(
            f"label: {labels.dtype.name} {labels.shape}; give int32 or int64 [N], -1 where there is none"
        )


def require_unit_range(images: tf.Tensor, optimizer: Any = None) -> None:
    """Has a step fail with `RANGE` where floats are far from [0, 1].

    Given the optimizer, looks at its first step alone: it costs a pass over the images. A step compiled by
    XLA asserts nothing.
    """
    if not images.dtype.is_floating:
        return

    def look() -> tf.Tensor:
        lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
        far = (lowest < -_FARTHEST) | (highest > 1 + _FARTHEST)  # NaN is neither: that is a step gone wrong
        with tf.control_dependencies([tf.debugging.Assert(~far, [RANGE, lowest, highest])]):
            return tf.constant(True)

    if optimizer is None:
        look()
    else:
        tf.cond(tf.equal(optimizer.iterations, 0), look, lambda: tf.constant(True))
