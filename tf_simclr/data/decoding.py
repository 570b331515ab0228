"""From encoded bytes to pixels, decoding no more of a JPEG than its crops need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_simclr.data import exif, pillow_decoding
from tf_simclr.data.heads import MAX_PIXELS
from tf_simclr.image_size import ImageSize, height_and_width

_JPEG_RATIOS = (1, 2, 4, 8)  # libjpeg shrinks by these while it decodes
_MOST_PIXELS = 8 * 1032  # that a byte of a PNG or BMP can hold: deflate's limit, at a bit a pixel

Boxes = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Height and width of an image (int32 scalars) to boxes in it, int32 [V, 4]: top, left, height, width."""


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How the images of a data set are decoded, the same in training, evaluation and export.

    Attributes:
      upright: turned as their EXIF orientation says, which TensorFlow's decoders ignore (`--exif`).
      by_pillow: WebP and TIFF too, in this process alone; see `pillow_decoding`.
      max_pixels: an image of more is not decoded, which bounds the memory that one may take.
    """

    upright: bool = False
    by_pillow: bool = False
    max_pixels: int = MAX_PIXELS


def decode_image(encoded: tf.Tensor, how: Decoding = Decoding()) -> tf.Tensor:
    """JPEG, PNG, BMP or GIF (its first frame), scalar string -> uint8 RGB [h, w, 3].

    Grey images get three equal channels, alpha is dropped, CMYK is converted.
    """
    image = _decode_stored(encoded, how)
    return exif.upright(image, exif.orientation(encoded)) if how.upright else image


def _decode_stored(encoded: tf.Tensor, how: Decoding) -> tf.Tensor:
    def by_tensorflow() -> tf.Tensor:
        with tf.control_dependencies([_require_few_pixels(_pixels(encoded, how), how)]):
            image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return image

    if not how.by_pillow:
        return by_tensorflow()
    pillow = pillow_decoding.is_for_pillow(encoded)
    return tf.cond(pillow, lambda: pillow_decoding.decode(encoded, how.max_pixels), by_tensorflow)


def _require_few_pixels(pixels: tf.Tensor, how: Decoding) -> tf.Operation:
    return tf.debugging.Assert(pixels <= how.max_pixels, [pixels])


def _pixels(encoded: tf.Tensor, how: Decoding) -> tf.Tensor:
    """How many pixels the header of an image says, int64 scalar; 0 where it is too short for too many."""

    def said() -> tf.Tensor:
        is_jpeg = tf.io.is_jpeg(encoded)
        return tf.cond(is_jpeg, lambda: _area(tf.image.extract_jpeg_shape(encoded)[:2]), of_head)

    def of_head() -> tf.Tensor:
        head = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, 26), tf.uint8), tf.int64)
        png, gif, bmp = (head[0] == first for first in (0x89, ord("G"), ord("B")))
        return tf.case(
            [
                (png, lambda: _area(_numbers(head[16:24], 4, [1 << 24, 1 << 16, 1 << 8, 1]))),
                (gif, lambda: _area(_numbers(head[6:10], 2, [1, 1 << 8]))),
                (
                    bmp,
                    lambda: _area(
                        tf.abs(tf.cast(_numbers(head[18:26], 4, [1, 1 << 8, 1 << 16, 1 << 24]), tf.int32))
                    ),
                ),
            ],
            default=lambda: tf.constant(0, tf.int64),
        )

    short = tf.strings.length(encoded) < how.max_pixels // _MOST_PIXELS
    short &= tf.strings.substr(encoded, 0, 3) != b"GIF"  # whose frames may be smaller than the whole
    return tf.cond(short, lambda: tf.constant(0, tf.int64), said)


def _area(sides: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.cast(sides, tf.int64))


def _numbers(head: tf.Tensor, width: int, weights: list[int]) -> tf.Tensor:
    """Two numbers of `width` bytes each, int64 [2]."""
    return tf.reduce_sum(tf.reshape(head, [2, width]) * tf.constant(weights, tf.int64), axis=1)


def in_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """uint8 [h, w, C] as it is; RGB that is to have one channel as luma (ITU-R 601), exact where grey."""
    return tf.image.rgb_to_grayscale(image) if channels < image.shape[-1] else image


def decode_for_boxes(
    encoded: tf.Tensor, boxes: Boxes, size: ImageSize, how: Decoding = Decoding()
) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels that hold the boxes, and where the boxes are in them.

    Of a JPEG only the rectangle around all boxes is decoded, shrunk by 2, 4 or 8 in the decoder where the
    boxes keep `size` pixels either way: large photographs then cost a fraction, and are low-pass filtered
    before a resizing that would alias.

    Args:
      encoded: scalar string.
      boxes: called with the size of the whole image, upright where `how` says so.
      size: that a box will be resized to.

    Returns:
      uint8 [h, w, 3] and int32 [V, 4].
    """
    if not how.upright:
        return _decode_stored_for_boxes(encoded, boxes, size, how)
    turned = exif.orientation(encoded)
    longer = max(height_and_width(size))  # which way it lies in the stored image is not known

    def of_stored(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        sides = exif.upright_size(height, width, turned)
        return exif.stored_boxes(boxes(*sides), *sides, turned)

    pixels, placed = _decode_stored_for_boxes(encoded, of_stored, longer, how)
    pixels = exif.upright(pixels, turned)
    height, width, _ = tf.unstack(tf.shape(pixels))
    return pixels, exif.upright_boxes(placed, height, width, turned)


def _decode_stored_for_boxes(
    encoded: tf.Tensor, boxes: Boxes, size: ImageSize, how: Decoding
) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: _decode_jpeg(encoded, boxes, size, how),
        lambda: boxes_in(_decode_stored(encoded, how), boxes),
    )


def boxes_in(image: tf.Tensor, boxes: Boxes) -> tuple[tf.Tensor, tf.Tensor]:
    """As `decode_for_boxes`, of an image [h, w, C] that is decoded already."""
    height, width, _ = tf.unstack(tf.shape(image))
    return image, boxes(height, width)


def _decode_jpeg(
    encoded: tf.Tensor, boxes: Boxes, size: ImageSize, how: Decoding
) -> tuple[tf.Tensor, tf.Tensor]:
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(encoded))
    with tf.control_dependencies(
        [_require_few_pixels(tf.cast(height, tf.int64) * tf.cast(width, tf.int64), how)]
    ):
        drawn = boxes(height, width)
    wanted = tf.constant(height_and_width(size)) * tf.constant(_JPEG_RATIOS[1:])[:, tf.newaxis]  # [3, 2]
    kept = tf.reduce_all(tf.reduce_min(drawn[:, 2:], axis=0) >= wanted, axis=1)
    branch = tf.reduce_sum(tf.cast(kept, tf.int32))
    drawn //= tf.gather(_JPEG_RATIOS, branch)
    begin = tf.reduce_min(drawn[:, :2], axis=0)
    end = tf.reduce_max(drawn[:, :2] + drawn[:, 2:], axis=0)
    window = tf.concat([begin, end - begin], axis=0)

    def decode(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_and_crop_jpeg(encoded, window, channels=3, ratio=ratio)

    pixels = tf.switch_case(branch, [decode(ratio) for ratio in _JPEG_RATIOS])
    return pixels, drawn - tf.concat([begin, [0, 0]], axis=0)
