"""The exact gradient of the full-batch loss, in the memory of one chunk's activations.

A contrastive loss needs all projections at once, but these are small. So: encode every chunk without a tape;
differentiate the loss by what was encoded; encode every chunk again, with a tape, and send its rows of that
gradient back through it. The sum over chunks is the gradient of the whole batch's loss, at the price of a
second forward pass. The optimizer steps once.

A chunk holds all views of every k-th image, of all replicas; which images these are does not depend on the
number of replicas. Batch statistics are each chunk's own, so with batch norm in training mode SimCLR has
batch norm over N / k images and NT-Xent over N. The moving statistics move once a step, to the mean of what
each chunk alone would make of them. Where batch norm is in inference mode nothing differs from k = 1 but
rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import finite
from tf_simclr.replicas.ordering import after

Loss = Callable[[tf.Tensor, Any], tf.Tensor]


def minimize(model: Any, views: tf.Tensor, loss: Loss) -> tuple[tf.Tensor, Any]:
    """Takes one step of `model.optimizer`; returns what all chunks were encoded to.

    Args:
        model: has `represent(views, training)` -> (h, nest of rows), `method.trained`, `method.num_views`,
            and the number k of chunks as `micro_batches`.
        views: this replica's [V * n, H, W, 3], view a first, n divisible by k.
        loss: of h [V * n, D], the nest of rows [V * n, ...] (of fewer views where not all are encoded) and,
            besides, of the variables themselves (weight decay); it reaches the encoder's activations through
            the rows alone.

    Raises:
        UsageError: n is not divisible by k.
    """
    images = _checked_images(views, model.method.num_views, model.micro_batches)
    split = functools.partial(_split, images=images, k=model.micro_batches)
    chunks = split(views)
    statistics = _moving_statistics(model)
    h, rows, moved = _encode(model, chunks, statistics)
    value, d_rows, direct = _loss_gradients(model, h, rows, loss)
    d_chunks = list(zip(*(split(d_row) for d_row in d_rows), strict=True))
    parts, through_rows = _encoder_gradients(model, chunks, d_chunks)
    _assign(statistics, moved)  # the second pass has moved them again

    gradients = [_add(a, b) for a, b in zip(direct, through_rows, strict=True)]
    if finite.scales_loss(model.optimizer):
        gradients = model.optimizer.get_unscaled_gradients(gradients)
    finite.apply(model, value, gradients, judged=[*direct, *parts])
    return h, rows


def _encode(
    model: Any, chunks: Sequence[tf.Tensor], statistics: Sequence[tf.Variable]
) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
    """h and rows of all chunks, without a tape, and where the moving statistics go; they are left alone."""
    before = [tf.identity(variable) for variable in statistics]
    encoded, moved = [], []
    done: list[tf.Tensor] = []
    for chunk in chunks:
        encoded.append(model.represent(after(done, chunk), training=True))
        moved.append([tf.identity(variable) for variable in statistics])
        _assign(statistics, before)
        done = tf.nest.flatten(encoded[-1][1])
    join = functools.partial(_join, images=chunks[0].shape[0] // model.method.num_views)
    h, rows = tf.nest.map_structure(lambda *parts: join(parts), *encoded)
    return h, rows, [tf.reduce_mean(tf.stack(values), axis=0) for values in zip(*moved, strict=True)]


def _loss_gradients(
    model: Any, h: tf.Tensor, rows: Any, loss: Loss
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor | None]]:
    """The loss, its gradients by the rows and, these given, by the variables; scaled where losses are."""
    flat = tf.nest.flatten(rows)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        value = scaled = loss(h, rows)
        if finite.scales_loss(model.optimizer):
            scaled = model.optimizer.get_scaled_loss(value)
    gradients = tape.gradient(scaled, [*flat, *model.trainable_variables])
    d_rows = [tf.zeros_like(row) if d is None else d for row, d in zip(flat, gradients, strict=False)]
    return value, d_rows, gradients[len(flat) :]


def _encoder_gradients(
    model: Any, chunks: Sequence[tf.Tensor], d_rows: Sequence[Sequence[tf.Tensor]]
) -> tuple[list[tf.Tensor | None], list[tf.Tensor | None]]:
    """The variables' gradients through the rows, each chunk's and summed; None where no row depends."""
    variables = model.trainable_variables
    sums: list[tf.Tensor | None] = [None] * len(variables)
    parts: list[tf.Tensor | None] = []
    for chunk, d_chunk in zip(chunks, d_rows, strict=True):
        with tf.GradientTape() as tape:
            earlier = [value for value in sums if value is not None]
            _, rows = model.represent(after([*d_chunk, *earlier], chunk), training=True)
        gradients = tape.gradient(tf.nest.flatten(rows), variables, output_gradients=list(d_chunk))
        sums = [_add(a, b) for a, b in zip(sums, gradients, strict=True)]
        parts += gradients
    return parts, sums


def _moving_statistics(model: Any) -> list[tf.Variable]:
    """What is not trainable by birth, rather than frozen: batch norm's moving mean and variance."""
    variables = [variable for part in model.method.trained(model) for variable in part.variables]
    return [variable for variable in variables if not variable.trainable and variable.dtype.is_floating]


def _assign(variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _add(a: tf.Tensor | None, b: tf.Tensor | None) -> tf.Tensor | None:
    return b if a is None else a if b is None else a + b


def _checked_images(views: tf.Tensor, num_views: int, k: int) -> int:
    """How many images the views are of."""
    rows = views.shape[0]
    if rows is None:
        raise UsageError(f"--micro_batches={k} needs batches of a known size: use batch(drop_remainder=True)")
    if rows % (num_views * k):
        raise UsageError(f"--micro_batches={k} does not divide the {rows // num_views} images of a replica")
    return rows // num_views


def _split(rows: tf.Tensor, images: int, k: int) -> list[tf.Tensor]:
    """[V * n, ...], view a first, into k of [V * n/k, ...], each with all views of every k-th image."""
    by_view = tf.reshape(rows, [-1, images // k, k, *rows.shape[1:]])
    return [tf.reshape(by_view[:, :, i], [rows.shape[0] // k, *rows.shape[1:]]) for i in range(k)]


def _join(chunks: Sequence[tf.Tensor], images: int) -> tf.Tensor:
    """The inverse of `_split`, of chunks of `images` images."""
    rows, *rest = chunks[0].shape
    by_view = [tf.reshape(chunk, [rows // images, images, *rest]) for chunk in chunks]
    return tf.reshape(tf.stack(by_view, axis=2), [rows * len(chunks), *rest])
