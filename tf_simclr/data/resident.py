"""All images of a source decoded and padded to one size, for the memory of a device (`--feed=device`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclr.data import skipping
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
      shown: int64 [N], the position of the image that is shown at each: another one's where it is bad.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    shown: np.ndarray


def decode_all(source: Source, fits: Callable[[Shape], bool] = lambda shape: True) -> Resident | None:
    """Decodes every image; None as soon as they do not fit.

    Bad ones are replaced as `skipping` says, or are an error there and here.

    Args:
      fits: whether they do, if each is padded to this shape.

    Raises:
      UsageError: more images are bad than are borne.
    """
    chunks: list[Record] = []
    height, width = 0, 0
    for chunk in _decoded(source):
        tall, wide, channels = chunk["pixels"].shape[1:]
        height, width = max(height, tall), max(width, wide)
        if not fits((height, width, channels)):
            return None
        chunks.append(chunk)
    bad = np.ones(source.num_examples, bool)
    for chunk in chunks:
        bad[chunk["index"]] = False
    shown = skipping.stand_ins(source, bad)
    pixels = np.zeros([source.num_examples, height, source.channels, width], np.uint8)
    sizes = np.zeros([source.num_examples, 2], np.int32)
    labels = np.zeros([source.num_examples, *chunks[0]["label"].shape[1:]], np.int64)
    for chunk in chunks:
        index, (tall, wide) = chunk["index"], chunk["pixels"].shape[1:3]
        pixels[index, :tall, :, :wide] = chunk["pixels"].transpose(0, 1, 3, 2)
        sizes[index], labels[index] = chunk["size"], chunk["label"]
    return Resident(pixels, sizes, labels, shown)


def _decoded(source: Source) -> Iterator[Record]:
    def decoded(ticket: tf.Tensor | Record) -> Record:
        record = source.fetch(ticket)
        pixels = source.decode(record["image"])
        place = {"index": record["index"], "label": record["label"]}
        return {"pixels": pixels, "size": tf.shape(pixels)[:2], **place}

    images = source.tickets().map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    if source.bad_images.policy.skip:
        images = images.ignore_errors()
    total = math.ceil(source.num_examples / _CHUNK)
    chunks = images.padded_batch(_CHUNK).prefetch(1).as_numpy_iterator()
    yield from progress_bar(chunks, "decoding", total=total, leave=False, delay=5, unit=f" x {_CHUNK} images")
