"""All images of a source decoded and padded to one size, for the memory of a device (`--feed=device`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclr.data.records import Record, Source
from tf_simclr.progress import progress_bar

Shape = tuple[int, int, int]  # height, width, channels
_CHUNK = 256  # images


@dataclasses.dataclass(frozen=True)
class Resident:
    """The images of a source, in its own order.

    Attributes:
      pixels: uint8 [N, H, C, W], zeros below and right of smaller images.
      sizes: int32 [N, 2], height and width of each.
      labels: int64 [N], or [N, classes] of several labels an image.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


def decode_all(source: Source, fits: Callable[[Shape], bool] = lambda shape: True) -> Resident | None:
    """Decodes every image; None as soon as they do not fit.

    Args:
      fits: whether they do, if each is padded to this shape.
    """
    chunks: list[Record] = []
    height, width = 0, 0
    for chunk in _decoded(source):
        tall, wide, channels = chunk["pixels"].shape[1:]
        height, width = max(height, tall), max(width, wide)
        if not fits((height, width, channels)):
            return None
        chunks.append(chunk)
    pixels = np.zeros([source.num_examples, height, channels, width], np.uint8)
    for number, chunk in enumerate(chunks):
        count, tall, wide, _ = chunk["pixels"].shape
        place = slice(number * _CHUNK, number * _CHUNK + count)
        pixels[place, :tall, :, :wide] = chunk["pixels"].transpose(0, 1, 3, 2)
    sizes, labels = (np.concatenate([chunk[name] for chunk in chunks]) for name in ("size", "label"))
    return Resident(pixels, sizes, labels)


def _decoded(source: Source) -> Iterator[Record]:
    def decoded(ticket: tf.Tensor | Record) -> Record:
        record = source.fetch(ticket)
        pixels = source.decode(record["image"])
        return {"pixels": pixels, "size": tf.shape(pixels)[:2], "label": record["label"]}

    images = source.tickets().map(decoded, num_parallel_calls=tf.data.AUTOTUNE).padded_batch(_CHUNK)
    total = math.ceil(source.num_examples / _CHUNK)
    chunks = images.prefetch(1).as_numpy_iterator()
    yield from progress_bar(chunks, "decoding", total=total, leave=False, delay=5, unit=f" x {_CHUNK} images")
