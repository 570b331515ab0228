"""Which images of a data set cannot be used, and why; what is done about them.

Bad is a property of an image's bytes, so that everything that comes of it is a function of the data. What a
file's name and first bytes say is known when a folder is opened (`scan`), the rest when an image is drawn.
"""

from __future__ import annotations

import dataclasses
import io
import re
import threading

import tensorflow as tf
from PIL import Image

from tf_simclr.data import heads, pillow_decoding
from tf_simclr.data.heads import MAX_PIXELS
from tf_simclr.errors import UsageError

SHOWN = 3  # names in a line
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")


@dataclasses.dataclass(frozen=True)
class Policy:
    """`--on_bad_image` and how many of them are borne: a share of a split, or from 1 on their number."""

    skip: bool = False
    most: float = 0.01
    max_pixels: int = MAX_PIXELS

    def allowed(self, total: int) -> int:
        """How many bad images a split of `total` may hold."""
        if not self.skip:
            return 0
        return int(self.most) if self.most >= 1 else int(self.most * total)


FAIL = Policy()


class BadImages:
    """The bad images of one opened split, by name. Threads that make batches write to it."""

    def __init__(self, flags: str, total: int, policy: Policy = FAIL) -> None:
        """`flags` name the split in mistakes, `total` counts its images, bad ones too."""
        self.flags, self.total, self.policy = flags, total, policy
        self.rows: dict[str, tuple[str, str]] = {}  # name: reason, where it was found
        self._lock = threading.Lock()

    def note(self, name: str, reason: str, found: str) -> None:
        """Adds an image, unless it is known."""
        with self._lock:
            self.rows.setdefault(name, (reason, found))

    def knows(self, name: str) -> bool:
        return name in self.rows

    def over(self) -> UsageError | None:
        """The mistake where there are more bad images than are borne."""
        with self._lock:
            rows = list(self.rows.items())
        allowed = self.policy.allowed(self.total)
        if len(rows) <= allowed:
            return None
        name, (reason, _) = rows[-1]
        if not self.policy.skip:
            return UsageError(
                f"{self.flags}: image {name!r} can't be decoded ({reason}); replace or remove it, or give "
                "--on_bad_image=skip"
            )
        return UsageError(
            f"{self.flags}: {len(rows):,} of {self.total:,} images can't be decoded, such as {name!r} "
            f"({reason}), and --max_bad_images={self.policy.most:g} bears {allowed:,}; replace or remove "
            "them (python -m tf_simclr.doctor --data names all), or raise it"
        )

    def require_few(self) -> None:
        """Raises `over`."""
        error = self.over()
        if error is not None:
            raise error

    def __str__(self) -> str:
        shown = [f"{name}: {reason}" for name, (reason, _) in list(self.rows.items())[:SHOWN]]
        return "; ".join(shown) + ("; ..." if len(self.rows) > SHOWN else "")


def why(encoded: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """Why an encoded image cannot be used; empty where it can."""
    reason = heads.refusal(encoded[: heads.BYTES], max_pixels) or _too_large(encoded, max_pixels)
    return reason or pillow_decoding.refusal(encoded) or _undecodable(encoded, max_pixels)


def _too_large(encoded: bytes, max_pixels: int) -> str:
    """Of a JPEG, whose size does not lie within its first bytes."""
    if heads.kind(encoded) != "JPEG":
        return ""
    try:
        height, width, _ = tf.image.extract_jpeg_shape(encoded).numpy().tolist()
    except tf.errors.OpError:
        return ""
    return heads.too_large(height, width, max_pixels)


def _undecodable(encoded: bytes, max_pixels: int) -> str:
    if pillow_decoding.is_pillows(encoded):
        try:
            pillow_decoding.pixels(encoded, max_pixels)
        except ValueError as error:
            return f"damaged: {_line(error)}"
        return ""
    try:
        tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        return _of_kind(encoded, error)
    return ""


def _of_kind(encoded: bytes, error: tf.errors.OpError) -> str:
    """Pillow says what is wrong with a PNG; of a JPEG that cannot be decoded most have lost their end."""
    found = heads.kind(encoded)
    if found == "JPEG":
        return "JPEG that is cut short" if not encoded.rstrip(b"\0").endswith(b"\xff\xd9") else "damaged JPEG"
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.verify()
            Image.open(io.BytesIO(encoded), formats=FORMATS).load()
    except Exception as cause:
        return f"damaged {found}: {_line(cause)}"
    return f"damaged {found}: {_line(error)}"


def _line(error: Exception) -> str:
    text = getattr(error, "message", "") or str(error)  # TensorFlow's says where in the graph
    return " ".join(re.sub(r" *<_io\.BytesIO[^>]*>", "", text).split())[:100]
