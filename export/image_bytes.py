"""The encoded images of a request: each decoded by itself, so that a bad one is named by its place."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.data.heads import MAX_PIXELS

_AT_ONCE = 10  # images decoded in parallel
_WANTED = f"] cannot be decoded: give a whole JPEG, PNG, GIF or BMP of at most {MAX_PIXELS:,} pixels"


def decoded(
    image_bytes: tf.Tensor, preprocess: Callable[[tf.Tensor], tf.Tensor], image: tf.TensorSpec
) -> tf.Tensor:
    """`preprocess` of every encoded image [b], in its order: [b, H, W, C]; b may be 0.

    In the graph InvalidArgumentError names the first image that cannot be decoded, as `image_bytes[1]`.
    """

    def one(index: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, tf.ensure_shape(preprocess(encoded), image.shape)

    count = tf.shape(image_bytes, tf.int64)[0]
    rows = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate().map(one, _AT_ONCE).ignore_errors()
    end = tf.data.Dataset.from_tensors((count, tf.zeros(image.shape, image.dtype)))  # no batch is empty
    found, images = rows.concatenate(end).batch(count + 1).get_single_element()
    bad = tf.argmin(tf.cast(found == tf.range(tf.size(found, tf.int64)), tf.int32))
    message = tf.strings.join(["image_bytes[", tf.strings.as_string(bad), _WANTED])
    with tf.control_dependencies([tf.debugging.Assert(tf.size(found, tf.int64) == count + 1, [message])]):
        return tf.identity(images)[:-1]
