"""Batches for pretraining, supervised training and evaluation.

All randomness is stateless. The order of epoch e is a function of (seed, e); what is drawn for the example
at global position p = e * num_examples + i is a function of (seed, p). Step s takes the positions
[s * batch_size, (s + 1) * batch_size), so batches straddle epochs, and a run that starts at step s gets
exactly the batches of one that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.data.records import DecodedSource, Record, Source
from tf_simclr.data.views import (
    MIN_AREA,
    VIEW_UNIFORMS,
    evaluation_view,
    limit_shorter_side,
    random_views,
    to_uint8,
)
from tf_simclr.errors import UsageError

Example = dict[str, tf.Tensor]
_INT64_MAX = 2**63 - 1
_CACHED_SIDE = 1.15  # shorter side of a cached image, in units of the image size


def pretraining_batches(
    source: Source,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    num_uniforms: int,
    start_step: int = 0,
    crop_area_min: float = MIN_AREA,
    flip: bool = True,
    shuffle_buffer: int = 10_000,
    cache: bool = False,
    worker: int = 0,
    num_workers: int = 1,
    deterministic: bool = True,
) -> tf.data.Dataset:
    """Two views of every image, without end (Alg. 1).

    Args:
      image_size: side of the views in pixels.
      batch_size: images a step over all workers; this worker gets its `batch_size / num_workers`.
      seed: of order and draws.
      num_uniforms: numbers a view that are drawn here for the augmentations of the train step.
      start_step: the step of the first batch.
      crop_area_min: least share of the image's area that a crop keeps.
      flip: whether views are flipped left-right with p = 0.5.
      shuffle_buffer: records that a stream's shuffling holds; indexed sources shuffle fully.
      cache: decode once and keep uint8 pixels in memory, the shorter side limited to 1.15 * image_size.
      worker, num_workers: which equal slice of each batch to give.
      deterministic: False lets a slow image give way to the next ones.

    Returns:
      {"views": uint8 [B, 2, s, s, 3], "uniforms": float32 [B, 2, num_uniforms] in [0, 1),
      "label": int64 [B], -1 when there is none}, B = batch_size / num_workers.
    """
    if cache:
        source = cached(source, image_size)

    def example(position: tf.Tensor, record: Record) -> Example:
        uniforms = _draw(seed, position, [2, VIEW_UNIFORMS + num_uniforms])
        image = source.decode(record["image"])
        views = random_views(image, uniforms[:, :VIEW_UNIFORMS], image_size, crop_area_min, flip)
        return {"views": views, "uniforms": uniforms[:, VIEW_UNIFORMS:], "label": record["label"]}

    return _endless_batches(
        source,
        example,
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        shuffle_buffer=shuffle_buffer,
        worker=worker,
        num_workers=num_workers,
        deterministic=deterministic,
    )


def training_batches(
    source: Source,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    augment: bool = True,
    start_step: int = 0,
    crop_area_min: float = MIN_AREA,
    flip: bool = True,
    shuffle_buffer: int = 10_000,
    cache: bool = False,
    worker: int = 0,
    num_workers: int = 1,
    deterministic: bool = True,
) -> tf.data.Dataset:
    """One view of every image with its label, without end; arguments as `pretraining_batches`.

    With `augment` the view is a random crop and flip (App. B.5, B.6), else the evaluation view.

    Returns:
      {"image": uint8 [B, s, s, 3], "label": int64 [B]}, B = batch_size / num_workers.
    """
    if cache:
        source = cached(source, image_size)

    def example(position: tf.Tensor, record: Record) -> Example:
        image = source.decode(record["image"])
        if augment:
            uniforms = _draw(seed, position, [1, VIEW_UNIFORMS])
            view = random_views(image, uniforms, image_size, crop_area_min, flip)[0]
        else:
            view = to_uint8(evaluation_view(image, image_size) * 255.0)
        return {"image": view, "label": record["label"]}

    return _endless_batches(
        source,
        example,
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        shuffle_buffer=shuffle_buffer,
        worker=worker,
        num_workers=num_workers,
        deterministic=deterministic,
    )


def evaluation_batches(
    source: Source,
    *,
    image_size: int,
    batch_size: int,
    center_crop_fraction: float | None = None,
    resize_first: bool = False,
) -> tf.data.Dataset:
    """Every image once in the source's order, as `evaluation_view` shows it; the last batch may be smaller.

    Returns:
      {"image": float32 [b, s, s, 3] in [0, 1], "label": int64 [b], "id": string [b]}.
    """

    def example(ticket: Any) -> Example:
        record = source.fetch(ticket)
        image = source.decode(record["image"])
        view = evaluation_view(image, image_size, center_crop_fraction, resize_first)
        return {"image": view, "label": record["label"], "id": record["id"]}

    examples = source.tickets().map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def cached(source: Source, image_size: int) -> DecodedSource:
    """The source decoded once, as uint8 in memory, the shorter side at most 1.15 * image_size.

    Crops are then taken from the shrunken image: the smallest ones are enlarged from fewer pixels.
    """
    side = round(_CACHED_SIDE * image_size)

    def decoded(ticket: Any) -> Record:
        record = source.fetch(ticket)
        pixels = limit_shorter_side(source.decode(record["image"]), side)
        return {**record, "image": tf.io.serialize_tensor(pixels)}

    records = source.tickets().map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    rows = list(records.prefetch(tf.data.AUTOTUNE).as_numpy_iterator())
    return DecodedSource(
        source.name,
        source.split,
        source.version,
        source.class_names,
        images=[row["image"] for row in rows],
        labels=[row["label"] for row in rows],
        ids=[row["id"] for row in rows],
    )


def undecodable_image(source: Source) -> UsageError | None:
    """The error to show when a run failed on an image: names the first one that can't be read or decoded.

    Reads the source once; meant for after a run has met tf.errors.InvalidArgumentError.
    """
    good = (
        source.tickets()
        .enumerate()
        .map(lambda index, ticket: (index, tf.shape(source.decode(source.fetch(ticket)["image"]))),
             num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )  # fmt: skip
    expected = 0
    for index, _ in good.as_numpy_iterator():
        if index != expected:
            break
        expected += 1
    if expected == source.num_examples:
        return None
    record = next(iter(source.tickets().skip(expected).map(source.fetch)))
    name = record["id"].numpy().decode()
    return UsageError(f"--dataset={source.name}: image {name!r} can't be decoded; replace or remove it")


def _draw(seed: int, position: tf.Tensor, shape: list[int]) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed=tf.stack([tf.constant(seed, tf.int64), position]))


def _endless_batches(
    source: Source,
    example: Callable[[tf.Tensor, Record], Example],
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    shuffle_buffer: int,
    worker: int,
    num_workers: int,
    deterministic: bool,
) -> tf.data.Dataset:
    if batch_size % num_workers:
        raise UsageError(f"--train_batch_size={batch_size} is not divisible by the {num_workers} workers")
    share = batch_size // num_workers
    positions = _positions(source, seed, start_step * batch_size, shuffle_buffer)
    if num_workers > 1:
        positions = positions.filter(lambda position, _: position % batch_size // share == worker)
    return (
        positions.map(
            lambda position, ticket: example(position, source.fetch(ticket)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=deterministic,
        )
        .batch(share, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _positions(source: Source, seed: int, start: int, shuffle_buffer: int) -> tf.data.Dataset:
    """(position, ticket) from position `start` on; what lies before is skipped undecoded."""
    epoch, offset = divmod(start, source.num_examples)

    def tickets(epoch: tf.Tensor) -> tf.data.Dataset:
        # Negative, so that no epoch shares its key with a position's draws.
        key = tf.stack([tf.constant(seed, tf.int64), -1 - epoch])
        return source.shuffled_tickets(key, shuffle_buffer)

    return tf.data.Dataset.range(epoch, _INT64_MAX).flat_map(tickets).skip(offset).enumerate(start)
