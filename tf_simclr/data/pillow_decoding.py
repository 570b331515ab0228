"""WebP and TIFF, which TensorFlow 2.15 cannot decode, by Pillow.

The graph calls back into this Python process, one image at a time where Pillow keeps the interpreter's lock:
only images that begin like one of these come here, and a graph that another process runs does without.
"""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf
from PIL import Image, TiffImagePlugin

EXTENSIONS = ("webp", "tif", "tiff")
_BEGINNINGS = (b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_TO_RGB = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0


class Refused(ValueError):
    """An image that is not damaged, and has no one meaning in 8 bits."""


def is_for_pillow(encoded: tf.Tensor) -> tf.Tensor:
    """Whether an encoded image (scalar string) is a WebP or TIFF, whatever its name says."""
    return tf.reduce_any(tf.strings.substr(encoded, 0, 4) == tf.constant(_BEGINNINGS))


def is_pillows(encoded: bytes) -> bool:
    """As `is_for_pillow`, of bytes."""
    return encoded[:4] in _BEGINNINGS


def decode(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """WebP (its first frame) or TIFF (its first page), scalar string -> uint8 RGB [h, w, 3].

    As TensorFlow does with other formats: grey images get three equal channels, alpha is dropped, CMYK is
    converted, of 16 bits the high byte is kept. What cannot be decoded, or has more pixels, is an
    InvalidArgumentError.
    """

    def call(found: bytes | np.ndarray) -> np.ndarray:
        found = found if isinstance(found, bytes) else found.item()  # eagerly an array of one object
        return pixels(found, max_pixels)

    return tf.ensure_shape(tf.numpy_function(call, [encoded], tf.uint8, stateful=False), [None, None, 3])


def pixels(encoded: bytes, max_pixels: int | None = None) -> np.ndarray:
    """As `decode`, of bytes.

    Raises:
      Refused: pixels of more than 8 bits whose range is anybody's guess: floats, 32 bits, signed ones.
      ValueError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=("WEBP", "TIFF")) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise ValueError(f"{image.height} x {image.width} pixels")
            if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode.startswith("I;16"):
                return np.repeat(_high_byte(image)[..., None], 3, axis=-1)
            if image.mode not in _TO_RGB:
                raise Refused(f"its pixels are of Pillow's mode {image.mode}: save it with 8 bits a channel")
            return np.asarray(image.convert("RGB"))
    except Refused:
        raise
    except Exception as error:  # Pillow's decoders raise whatever the damage leads them to
        raise ValueError(str(error)) from error


def refusal(encoded: bytes) -> str:
    """Why an image that is not damaged is refused; empty where that is not so."""
    try:
        pixels(encoded)
    except Refused as error:
        return str(error)
    except ValueError:
        pass
    return ""


def _high_byte(image: TiffImagePlugin.TiffImageFile) -> np.ndarray:
    """uint8 [h, w] of a grey TIFF of 9 to 16 bits, which Pillow gives as they are stored."""
    values = np.asarray(image).astype(np.uint16)  # in this machine's byte order
    if image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = ~values
    return (values >> (image.tag_v2[_BITS][0] - 8)).astype(np.uint8)
