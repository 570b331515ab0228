"""EXIF orientation by TensorFlow operations alone, so that tf.data, an export and whoever loads it agree.

The block lies where its container keeps it: segment APP1 of a JPEG, chunk eXIf of a PNG, EXIF of a WebP. It
is a TIFF header whose first directory holds the tag (Exif 2.32, Sec. 4.6.4). A TIFF's own orientation is not
EXIF's: its decoder applies it always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_ORIENTATION, _SHORT = 0x0112, 3  # the tag, and the type of its value
_HEADER = 10  # bytes that say what a part of a container is
_ENTRY = 12  # bytes of an entry of a directory


class _Part(NamedTuple):
    """What the header of a segment or chunk says: scalars."""

    is_exif: tf.Tensor
    may_go_on: tf.Tensor
    size: tf.Tensor  # bytes from its start to the next one's


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """What the EXIF block of a JPEG, PNG or WebP (scalar string) says, int32 1 to 8; 1 where it says nothing.

    1 is upright. 2 to 4 are its mirror image, its half turn, and both; 5 to 8 have rows for columns.
    """
    first = _bytes(encoded, 0, 1)[0]
    block = tf.case(
        [
            (first == 0xFF, lambda: _block(encoded, 2, _jpeg_segment, 4)),
            (first == 0x89, lambda: _block(encoded, 8, _png_chunk, 8)),
            (first == ord("R"), lambda: _block(encoded, 12, _webp_chunk, 8)),
        ],
        default=lambda: tf.constant(b""),
    )
    return tf.cond(tf.strings.length(block) > 0, lambda: _tag(block), lambda: tf.constant(1))


def upright(image: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """An image [h, w, c] of orientation `turned` (int32) as it is to be looked at."""

    def turn() -> tf.Tensor:
        rows_first = tf.cond(turned >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        upper = tf.cond(_upside_down(turned), lambda: tf.reverse(rows_first, [0]), lambda: rows_first)
        return tf.cond(_mirrored(turned), lambda: tf.reverse(upper, [1]), lambda: upper)

    return tf.ensure_shape(tf.cond(turned == 1, lambda: image, turn), [None, None, image.shape[2]])


def upright_size(height: tf.Tensor, width: tf.Tensor, turned: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of the upright image, of those that are stored."""
    return tf.where(turned >= 5, width, height), tf.where(turned >= 5, height, width)


def stored_boxes(boxes: tf.Tensor, height: tf.Tensor, width: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """Boxes in an upright image of this size, int32 [V, 4] (top, left, height, width), in the stored one."""
    return _exchanged(_reflected(boxes, height, width, turned), turned)


def upright_boxes(boxes: tf.Tensor, height: tf.Tensor, width: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """The way back: boxes in the stored image, in the upright one of this size."""
    return _reflected(_exchanged(boxes, turned), height, width, turned)


def _upside_down(turned: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(turned == [3, 4, 7, 8])


def _mirrored(turned: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(turned == [2, 3, 6, 7])


def _exchanged(boxes: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    return tf.where(turned >= 5, tf.gather(boxes, [1, 0, 3, 2], axis=1), boxes)


def _reflected(boxes: tf.Tensor, height: tf.Tensor, width: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    top, left, box_height, box_width = tf.unstack(boxes, axis=1)
    top = tf.where(_upside_down(turned), height - top - box_height, top)
    left = tf.where(_mirrored(turned), width - left - box_width, left)
    return tf.stack([top, left, box_height, box_width], axis=1)


def _block(encoded: tf.Tensor, start: int, read: Callable[[tf.Tensor], _Part], skipped: int) -> tf.Tensor:
    """The EXIF block, less `skipped` bytes, among the parts from byte `start` on; empty without one."""

    def following(at: tf.Tensor, part: _Part) -> tuple[tf.Tensor, _Part]:
        at += part.size
        part = read(_bytes(encoded, at, _HEADER))  # zeros behind the end
        return at, part._replace(may_go_on=part.may_go_on & ~part.is_exif)

    before = _Part(tf.constant(False), tf.constant(True), tf.constant(0, tf.int64))
    at, part = tf.while_loop(
        lambda _, part: part.may_go_on, following, (tf.constant(start, tf.int64), before)
    )
    return tf.cond(
        part.is_exif,
        lambda: _text(encoded, at + skipped, part.size - skipped),
        lambda: tf.constant(b""),
    )


def _jpeg_segment(header: tf.Tensor) -> _Part:
    marker, scan, fill = header[1], 0xDA, 0xFF
    is_exif = (marker == 0xE1) & _is(header[4:], b"Exif\0\0")
    size = tf.where(marker == fill, tf.constant(1, tf.int64), 2 + _number(header[2:4]))
    return _Part(is_exif, (header[0] == 0xFF) & (marker != scan), size)


def _png_chunk(header: tf.Tensor) -> _Part:
    kind = header[4:8]
    return _Part(_is(kind, b"eXIf"), (kind[0] != 0) & ~_is(kind, b"IEND"), 12 + _number(header[:4]))


def _webp_chunk(header: tf.Tensor) -> _Part:
    size = _number(header[4:8], big_endian=False)
    return _Part(_is(header[:4], b"EXIF"), header[0] != 0, 8 + size + size % 2)


def _tag(block: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of an EXIF block, int32; 1 where it is none of 1 to 8."""
    start = tf.where(_is(_bytes(block, 0, 6), b"Exif\0\0"), tf.constant(6, tf.int64), 0)
    header = _bytes(block, start, 8)
    big = header[0] == ord("M")
    directory = start + _number(header[4:], big)
    count = _number(_bytes(block, directory, 2), big)
    entries = tf.reshape(_bytes(block, directory + 2, _ENTRY * tf.maximum(count, 1)), [-1, _ENTRY])
    tags, kinds, values = (_number(entries[:, place : place + 2], big) for place in (0, 2, 8))
    found = tf.boolean_mask(
        values, (tags == _ORIENTATION) & (kinds == _SHORT) & (values >= 1) & (values <= 8)
    )
    return tf.cast(tf.concat([found, tf.constant([1], tf.int64)], axis=0)[0], tf.int32)


def _bytes(encoded: tf.Tensor, at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """int64 [count] from byte `at` on, zeros behind the end."""
    part = _text(encoded, at, count)
    found = tf.io.decode_raw(part, tf.uint8, fixed_length=tf.cast(count, tf.int32))
    return tf.cast(tf.ensure_shape(found, [count if isinstance(count, int) else None]), tf.int64)


def _text(encoded: tf.Tensor, at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """At most `count` bytes from byte `at` on; behind the end, where `substr` fails, none."""
    begin = tf.minimum(tf.cast(at, tf.int64), tf.cast(tf.strings.length(encoded), tf.int64))
    return tf.strings.substr(encoded, begin, tf.cast(count, tf.int64))


def _number(digits: tf.Tensor, big_endian: tf.Tensor | bool = True) -> tf.Tensor:
    """Bytes int64 [..., n] as an unsigned number [...]."""
    weights = tf.constant([256**place for place in range(digits.shape[-1])], tf.int64)
    return tf.reduce_sum(digits * tf.where(big_endian, weights[::-1], weights), axis=-1)


def _is(found: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(found == tf.constant(list(text), tf.int64))
