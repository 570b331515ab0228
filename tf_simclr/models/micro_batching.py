"""The exact gradient of the full-batch loss, in the memory of one chunk's activations.

NT-Xent needs all z at once, but z is small. So: encode every chunk without a tape; differentiate the
loss by z; encode every chunk again, with a tape, and send its rows of that gradient back through it. The
sum over chunks is the gradient of the whole batch's loss, at the price of a second forward pass. The
optimizer steps once.

A chunk holds both views of every k-th image, of all replicas; which images these are does not depend on the
number of replicas. Batch statistics are each chunk's own, so with batch
norm in training mode this is SimCLR with batch norm over N / k images and NT-Xent over N. The moving
statistics move once a step, to the mean of what each chunk alone would make of them. Where batch norm is
in inference mode nothing differs from k = 1 but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.replicas.ordering import after

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def minimize(model: Any, images: tf.Tensor, loss: Loss) -> None:
    """Takes one step of `model.optimizer`.

    Args:
        model: has `encode(images, training)` -> (h, z), `encoder`, `projection_head`, and the number k of
            chunks as `micro_batches`.
        images: this replica's views [2n, H, W, 3], view a first, n divisible by k.
        loss: of h [2n, D], z [2n, P] and, besides, of the variables themselves (weight decay); it
            reaches the encoder's activations through z alone.

    Raises:
        UsageError: n is not divisible by k.
    """
    chunks = _split(images, model.micro_batches)
    statistics = _moving_statistics(model)
    h, z, moved = _encode(model, chunks, statistics)
    d_z, direct = _loss_gradients(model, h, z, loss)
    encoder = _encoder_gradients(model, chunks, _split(d_z, model.micro_batches))
    _assign(statistics, moved)  # the second pass has moved them again

    through_z = {variable.ref(): gradient for variable, gradient in encoder}
    gradients = [
        _add(gradient, through_z.get(variable.ref()))
        for variable, gradient in zip(model.trainable_variables, direct, strict=True)
    ]
    if _scales_loss(model.optimizer):
        gradients = model.optimizer.get_unscaled_gradients(gradients)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


def _encode(
    model: Any, chunks: Sequence[tf.Tensor], statistics: Sequence[tf.Variable]
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """h and z of all chunks, without a tape, and where the moving statistics go; they are left alone."""
    before = [tf.identity(variable) for variable in statistics]
    encoded, moved = [], []
    done: list[tf.Tensor] = []
    for chunk in chunks:
        encoded.append(model.encode(after(done, chunk), training=True))
        moved.append([tf.identity(variable) for variable in statistics])
        _assign(statistics, before)
        done = [encoded[-1][1]]
    h, z = (_join(parts) for parts in zip(*encoded, strict=True))
    return h, z, [tf.reduce_mean(tf.stack(values), axis=0) for values in zip(*moved, strict=True)]


def _loss_gradients(
    model: Any, h: tf.Tensor, z: tf.Tensor, loss: Loss
) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
    """The loss's gradients by z and, z given, by the variables; scaled where the optimizer scales losses."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(h, z)
        if _scales_loss(model.optimizer):
            value = model.optimizer.get_scaled_loss(value)
    d_z, *direct = tape.gradient(value, [z, *model.trainable_variables])
    return d_z, direct


def _encoder_gradients(
    model: Any, chunks: Sequence[tf.Tensor], d_z: Sequence[tf.Tensor]
) -> list[tuple[tf.Variable, tf.Tensor | None]]:
    """The gradients of encoder and head, summed chunk by chunk."""
    variables = _encoder_variables(model)
    sums: list[tf.Tensor | None] = [None] * len(variables)  # None: z does not depend on it
    for chunk, d_chunk in zip(chunks, d_z, strict=True):
        with tf.GradientTape() as tape:
            earlier = [value for value in sums if value is not None]
            _, z = model.encode(after([d_chunk, *earlier], chunk), training=True)
        gradients = tape.gradient(z, variables, output_gradients=d_chunk)
        sums = [_add(a, b) for a, b in zip(sums, gradients, strict=True)]
    return list(zip(variables, sums, strict=True))


def _encoder_variables(model: Any) -> list[tf.Variable]:
    return [*model.encoder.trainable_variables, *model.projection_head.trainable_variables]


def _moving_statistics(model: Any) -> list[tf.Variable]:
    """What is not trainable by birth, rather than frozen: batch norm's moving mean and variance."""
    variables = [*model.encoder.variables, *model.projection_head.variables]
    return [variable for variable in variables if not variable.trainable and variable.dtype.is_floating]


def _assign(variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _add(a: tf.Tensor | None, b: tf.Tensor | None) -> tf.Tensor | None:
    return b if a is None else a if b is None else a + b


def _split(views: tf.Tensor, k: int) -> list[tf.Tensor]:
    """[2n, ...], view a first, into k of [2n/k, ...], each with both views of every k-th image."""
    rows = views.shape[0]
    if rows is None:
        raise UsageError(f"--micro_batches={k} needs batches of a known size: use batch(drop_remainder=True)")
    if rows % (2 * k):
        raise UsageError(f"--micro_batches={k} does not divide the {rows // 2} images of a replica")
    pairs = tf.reshape(views, [2, rows // (2 * k), k, *views.shape[1:]])
    return [tf.reshape(pairs[:, :, i], [rows // k, *views.shape[1:]]) for i in range(k)]


def _join(chunks: Sequence[tf.Tensor]) -> tf.Tensor:
    """The inverse of `_split`."""
    rows, width = chunks[0].shape
    return tf.reshape(tf.stack(chunks, axis=1), [rows * len(chunks), width])


def _scales_loss(optimizer: Any) -> bool:
    return hasattr(optimizer, "get_scaled_loss")  # Keras's LossScaleOptimizer, under mixed_float16
