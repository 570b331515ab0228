"""The encoded images of a request: each decoded by itself, so that a bad one is named by its place."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

MAX_PIXELS = 178_956_970  # of an image: half a gigabyte, decoded; Pillow warns from here on
_AT_ONCE = 10  # images decoded in parallel
_WANTED = f"] cannot be decoded: give a whole JPEG, PNG, GIF or BMP of at most {MAX_PIXELS:,} pixels"


def decoded(
    image_bytes: tf.Tensor, preprocess: Callable[[tf.Tensor], tf.Tensor], image: tf.TensorSpec
) -> tf.Tensor:
    """`preprocess` of every encoded image [b], in its order: [b, H, W, C]; b may be 0.

    In the graph InvalidArgumentError names the first image that cannot be decoded, as `image_bytes[1]`.
    """

    def one(index: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.Assert(_pixels(encoded) <= MAX_PIXELS, [index])]):
            return index, tf.ensure_shape(preprocess(tf.identity(encoded)), image.shape)

    count = tf.shape(image_bytes, tf.int64)[0]
    rows = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate().map(one, _AT_ONCE).ignore_errors()
    end = tf.data.Dataset.from_tensors((count, tf.zeros(image.shape, image.dtype)))  # no batch is empty
    found, images = rows.concatenate(end).batch(count + 1).get_single_element()
    bad = tf.argmin(tf.cast(found == tf.range(tf.size(found, tf.int64)), tf.int32))
    message = tf.strings.join(["image_bytes[", tf.strings.as_string(bad), _WANTED])
    with tf.control_dependencies([tf.debugging.Assert(tf.size(found, tf.int64) == count + 1, [message])]):
        return tf.identity(images)[:-1]


def _pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Of how many pixels the header of an image speaks, int64; 0 where it is none that TensorFlow decodes."""

    def is_of(magic: bytes) -> tf.Tensor:
        return tf.strings.substr(encoded, 0, len(magic)) == magic

    cases = [
        (tf.io.is_jpeg(encoded), lambda: tf.cast(tf.image.extract_jpeg_shape(encoded)[:2], tf.int64)),
        (is_of(b"\x89PNG"), lambda: _numbers(encoded, 16, [1 << 24, 1 << 16, 1 << 8, 1])),
        (is_of(b"GIF8"), lambda: _numbers(encoded, 6, [1, 1 << 8])),
        (is_of(b"BM"), lambda: _numbers(encoded, 18, [1, 1 << 8, 1 << 16, 1 << 24])),
    ]
    return tf.reduce_prod(tf.case(cases, default=lambda: tf.zeros([2], tf.int64)))


def _numbers(encoded: tf.Tensor, begin: int, weights: list[int]) -> tf.Tensor:
    """The sizes of two numbers, of a byte a weight each, int64 [2]."""
    digits = tf.io.decode_raw(tf.strings.substr(encoded, begin, 2 * len(weights)), tf.uint8)
    rows = tf.reshape(tf.cast(digits, tf.int64), [2, len(weights)])
    numbers = tf.reduce_sum(rows * tf.constant(weights, tf.int64), axis=1)
    return tf.abs(tf.cast(tf.cast(numbers, tf.int32), tf.int64))  # a BMP from top to bottom has height < 0
