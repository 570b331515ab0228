"""Batches for pretraining, supervised training and evaluation.

All randomness is stateless. The order of epoch e is a function of (seed, e); what is drawn for the example
at global position p = e * num_examples + i is a function of (seed, p). Step s takes the positions
[s * batch_size, (s + 1) * batch_size), so batches straddle epochs, and a run that starts at step s gets
exactly the batches of one that never stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import skipping
from tf_simclr.data.records import Record, Source
from tf_simclr.data.views import (
    MIN_AREA,
    VIEW_UNIFORMS,
    evaluation_view,
    to_uint8,
    view_boxes,
    views_of_boxes,
)
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize, height_and_width

Example = dict[str, tf.Tensor]
Shuffled = Callable[[tf.Tensor, int], tf.data.Dataset]
_INT64_MAX = 2**63 - 1
_DRAWN_AT_ONCE = 1024  # positions whose numbers are drawn together: one by one it costs 4 % of a 224 px image


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which images a step takes, in which order, and how their random crops are drawn.

    Attributes:
      image_size: of the views: 96, "96x160" or (96, 160), in pixels, height first.
      batch_size: images a step over all workers; each gets its `batch_size / num_workers`.
      seed: of order and draws.
      crop_area_min: least share of the image's area that a crop keeps.
      crop_side: share of the image's sides that every crop keeps; 0: areas from `crop_area_min` on.
      flip: whether views are flipped left-right with p = 0.5.
      shuffle_buffer: records that a stream's shuffling holds; indexed sources shuffle fully.
      shared_crop: whether the views of an image are one and the same crop, that of the first view.
      report: whether this process makes the batches, and so can note which images are bad.
    """

    image_size: ImageSize
    batch_size: int
    seed: int
    crop_area_min: float = MIN_AREA
    flip: bool = True
    shuffle_buffer: int = 10_000
    shared_crop: bool = False
    report: bool = True
    crop_side: float = 0.0


def pretraining_batches(
    source: Source,
    sampling: Sampling,
    *,
    num_uniforms: int,
    num_views: int = 2,
    with_index: bool = False,
    start_step: int = 0,
    worker: int = 0,
    num_workers: int = 1,
) -> tf.data.Dataset:
    """Views V = `num_views` of every image, without end (Alg. 1: two).

    Args:
      num_uniforms: numbers a view that are drawn here for the augmentations of the train step.
      with_index: add "index": int64 [B], the images' positions in the source's own order.
      start_step: the step of the first batch.
      worker, num_workers: which equal slice of each batch to give.

    Returns:
      {"views": uint8 [B, V, H, W, C], "uniforms": float32 [B, V, num_uniforms] in [0, 1),
      "label": int64 [B], -1 when there is none}, B = batch_size / num_workers.
    """

    def example(record: Record, uniforms: tf.Tensor) -> Example:
        views = _random_crops(source, record, uniforms[:, :VIEW_UNIFORMS], sampling)
        batch = {"views": views, "uniforms": uniforms[:, VIEW_UNIFORMS:], "label": record["label"]}
        return {**batch, "index": record["index"]} if with_index else batch

    drawn = (num_views, VIEW_UNIFORMS + num_uniforms)
    return _endless_batches(source, example, drawn, sampling, start_step, worker, num_workers)


def training_batches(
    source: Source,
    sampling: Sampling,
    *,
    augment: bool = True,
    num_uniforms: int = 0,
    center_crop_fraction: float | None = None,
    resize_first: bool = False,
    start_step: int = 0,
    worker: int = 0,
    num_workers: int = 1,
) -> tf.data.Dataset:
    """One view of every image with its label, without end; arguments as `pretraining_batches`.

    With `augment` the view is a random crop and flip (App. B.5, B.6), else the evaluation view that
    `center_crop_fraction` and `resize_first` say.

    Returns:
      {"image": uint8 [B, H, W, C], "label": int64 [B]}, B = batch_size / num_workers; with `num_uniforms`
      also "uniforms": float32 [B, num_uniforms] in [0, 1).
    """

    def example(record: Record, uniforms: tf.Tensor) -> Example:
        if augment:
            view = _random_crops(source, record, uniforms[:, :VIEW_UNIFORMS], sampling)[0]
        else:
            image = source.decode(record["image"])
            pixels = evaluation_view(image, sampling.image_size, center_crop_fraction, resize_first)
            view = to_uint8(pixels * 255.0)
        batch = {"image": view, "label": record["label"]}
        return {**batch, "uniforms": uniforms[0, VIEW_UNIFORMS:]} if num_uniforms else batch

    drawn = (1, VIEW_UNIFORMS + num_uniforms)
    return _endless_batches(source, example, drawn, sampling, start_step, worker, num_workers)


def evaluation_batches(
    source: Source,
    *,
    image_size: ImageSize,
    batch_size: int,
    center_crop_fraction: float | None = None,
    resize_first: bool = False,
    replace: bool = False,
) -> tf.data.Dataset:
    """Every image once in the source's order, as `evaluation_view` shows it; the last batch may be smaller.

    A bad image is left out and noted in `source.bad_images`, or replaced as in training.

    Returns:
      {"image": float32 [b, H, W, C] in [0, 1], "label": int64 [b], "id": string [b]}.
    """

    def example(record: Record, _: tf.Tensor) -> Example:
        image = source.decode(record["image"])
        view = evaluation_view(image, image_size, center_crop_fraction, resize_first)
        return {"image": view, "label": record["label"], "id": record["id"]}

    rows = tf.data.Dataset.zip((source.tickets(), tf.data.Dataset.from_tensors(0).repeat()))
    row_bytes = 4 * _bytes(image_size, source.channels)  # float32
    how = skipping.How(False, replace, report=True, found="evaluation", row_bytes=row_bytes)
    batches = skipping.batches(source, rows, example, batch_size, how)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(own_threads())


def first_good(source: Source, count: int) -> np.ndarray:
    """Positions of the first images that can be decoded, int [n]; n <= `count`."""
    return np.array(list(_good(source).take(count).as_numpy_iterator()), np.int64)


def undecodable_image(source: Source) -> UsageError | None:
    """The error to show when a run failed on an image: names the first one that can't be read or decoded.

    Reads the source once; meant for after a run has met tf.errors.InvalidArgumentError.
    """
    expected = 0
    for index in _good(source).as_numpy_iterator():
        if index != expected:
            break
        expected += 1
    if expected == source.num_examples:
        return None
    skipping.note(source, next(source.tickets().skip(expected).as_numpy_iterator()), "training")
    return source.bad_images.over()


def _good(source: Source) -> tf.data.Dataset:
    """Positions of the images that can be decoded, in order."""

    def decoded(index: tf.Tensor, ticket: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return index, tf.shape(source.decode(source.fetch(ticket)["image"]))

    positions = source.tickets().enumerate().map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    return positions.ignore_errors().map(lambda index, _: index)


def _random_crops(source: Source, record: Record, uniforms: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """A view of the record for each row of `uniforms` [V, VIEW_UNIFORMS]."""
    size, drawn = sampling.image_size, uniforms[:1] if sampling.shared_crop else uniforms
    boxes = view_boxes(drawn, sampling.crop_area_min, size, sampling.crop_side)
    cropped = source.decode_for_boxes(record["image"], boxes, size)
    views = views_of_boxes(*cropped, drawn, size, sampling.flip)
    return tf.tile(views, [uniforms.shape[0], 1, 1, 1]) if sampling.shared_crop else views


def _endless_batches(
    source: Source,
    example: Callable[[Record, tf.Tensor], Example],
    drawn: tuple[int, int],
    sampling: Sampling,
    start_step: int,
    worker: int,
    num_workers: int,
) -> tf.data.Dataset:
    """Batches of `example(record, uniforms)`, the uniforms float32 of the shape `drawn`."""
    rows = rows_of_worker(
        source.shuffled_tickets, source.num_examples, drawn, sampling, start_step, worker, num_workers
    )
    row_bytes = drawn[0] * _bytes(sampling.image_size, source.channels)
    how = skipping.How(True, replace=True, report=sampling.report, found="training", row_bytes=row_bytes)
    batches = skipping.batches(source, rows, example, sampling.batch_size // num_workers, how)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(own_threads())


def _bytes(size: ImageSize, channels: int) -> int:
    height, width = height_and_width(size)
    return height * width * channels


def rows_of_worker(
    shuffled: Shuffled,
    num_examples: int,
    drawn: tuple[int, int],
    sampling: Sampling,
    start_step: int,
    worker: int,
    num_workers: int,
) -> tf.data.Dataset:
    """(ticket, float32 `drawn` in [0, 1)) of a worker's slice of every batch, without end.

    Args:
      shuffled: a source's tickets in the order of a seed, as `Source.shuffled_tickets`.
      num_examples: tickets of an epoch.

    Raises:
      UsageError: the workers cannot share a batch equally.
    """
    batch_size = sampling.batch_size
    if batch_size % num_workers:
        raise UsageError(f"--train_batch_size={batch_size} is not divisible by the {num_workers} workers")
    share, start = batch_size // num_workers, start_step * batch_size
    tickets = _tickets(shuffled, num_examples, sampling.seed, start, sampling.shuffle_buffer)
    rows = tf.data.Dataset.zip((tickets, _draws(sampling.seed, start, drawn)))
    if num_workers == 1:
        return rows
    own = rows.enumerate(start).filter(lambda position, _: position % batch_size // share == worker)
    return own.map(lambda _, row: row)


def _tickets(
    shuffled: Shuffled, num_examples: int, seed: int, start: int, shuffle_buffer: int
) -> tf.data.Dataset:
    """The tickets from position `start` on; what lies before is skipped undecoded."""
    epoch, offset = divmod(start, num_examples)

    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # Negative, so that no epoch shares its key with a draw.
        key = tf.stack([tf.constant(seed, tf.int64), -1 - epoch])
        return shuffled(key, shuffle_buffer)

    return tf.data.Dataset.range(epoch, _INT64_MAX).flat_map(of_epoch).skip(offset)


def _draws(seed: int, start: int, shape: tuple[int, int]) -> tf.data.Dataset:
    """Numbers in [0, 1), float32 `shape`, for every position from `start` on."""
    chunk, offset = divmod(start, _DRAWN_AT_ONCE)

    def of_chunk(chunk: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), chunk])
        return tf.data.Dataset.from_tensor_slices(
            tf.random.stateless_uniform([_DRAWN_AT_ONCE, *shape], seed=key)
        )

    return tf.data.Dataset.range(chunk, _INT64_MAX).flat_map(of_chunk).skip(offset)


def own_threads() -> tf.data.Options:
    """One thread a core for the images, apart from TensorFlow's own; an image's operations don't fan out.

    Without the autotuner: one costly map needs none, and it would hold up the end of an iterator until it
    wakes next, after seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 0  # as many as there are cores, where it runs
    options.threading.max_intra_op_parallelism = 1
    return options
