"""The exact gradient of the full-batch loss, in the memory of one chunk's activations.

NT-Xent needs all z at once, but z is small. So: encode every chunk without a tape; differentiate the
loss by z; encode every chunk again, with a tape, and send its rows of that gradient back through it. The
sum over chunks is the gradient of the whole batch's loss, at the price of a second forward pass. The
optimizer steps once.

A chunk holds both views of its images, of all replicas. Batch statistics are each chunk's own, so with batch
norm in training mode this is SimCLR with batch norm over N / k images and NT-Xent over N. The moving
statistics move once a step, to the mean of what each chunk alone would make of them. Where batch norm is
in inference mode nothing differs from k = 1 but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def minimize(model: Any, images: tf.Tensor, loss: Loss) -> None:
    """Takes one step of `model.optimizer`.

    Args:
        model: has `encode(images, training)` -> (h, z), `encoder`, `projection_head`, and the number k of
            chunks as `micro_batches`.
        images: this replica's views [2n, H, W, 3], view a first, n divisible by k.
        loss: of h [2n, D] and z [2n, P]; it reaches the encoder through z alone.

    Raises:
        UsageError: n is not divisible by k.
    """
    chunks = _split(images, model.micro_batches)
    statistics = _moving_statistics(model)
    h, z, moved = _encode(model, chunks, statistics)
    d_z, others = _loss_gradients(model, h, z, loss)
    encoder = _encoder_gradients(model, chunks, _split(d_z, model.micro_batches))
    _assign(statistics, moved)  # the second pass has moved them again

    gradients = {variable.ref(): gradient for variable, gradient in [*others, *encoder]}
    ordered = [gradients[variable.ref()] for variable in model.trainable_variables]
    if _scales_loss(model.optimizer):
        ordered = model.optimizer.get_unscaled_gradients(ordered)
    model.optimizer.apply_gradients(zip(ordered, model.trainable_variables, strict=True))


def _encode(
    model: Any, chunks: Sequence[tf.Tensor], statistics: Sequence[tf.Variable]
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """h and z of all chunks, without a tape, and where the moving statistics go; they are left alone."""
    before = [tf.identity(variable) for variable in statistics]
    encoded, moved = [], []
    done: list[tf.Tensor] = []
    for chunk in chunks:
        encoded.append(model.encode(_after(done, chunk), training=True))
        moved.append([tf.identity(variable) for variable in statistics])
        _assign(statistics, before)
        done = [encoded[-1][1]]
    h, z = (_join(parts) for parts in zip(*encoded, strict=True))
    return h, z, [tf.reduce_mean(tf.stack(values), axis=0) for values in zip(*moved, strict=True)]


def _loss_gradients(
    model: Any, h: tf.Tensor, z: tf.Tensor, loss: Loss
) -> tuple[tf.Tensor, list[tuple[tf.Variable, tf.Tensor]]]:
    """The loss's gradients by z and by the variables beyond it, scaled where the optimizer scales losses."""
    encoder = {variable.ref() for variable in _encoder_variables(model)}
    others = [variable for variable in model.trainable_variables if variable.ref() not in encoder]
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(h, z)
        if _scales_loss(model.optimizer):
            value = model.optimizer.get_scaled_loss(value)
    d_z, *d_others = tape.gradient(value, [z, *others])
    return d_z, list(zip(others, d_others, strict=True))


def _encoder_gradients(
    model: Any, chunks: Sequence[tf.Tensor], d_z: Sequence[tf.Tensor]
) -> list[tuple[tf.Variable, tf.Tensor]]:
    """The gradients of encoder and head, summed chunk by chunk."""
    variables = _encoder_variables(model)
    sums: list[tf.Tensor] = []
    for chunk, d_chunk in zip(chunks, d_z, strict=True):
        with tf.GradientTape() as tape:
            _, z = model.encode(_after([*sums, d_chunk], chunk), training=True)
        gradients = tape.gradient(z, variables, output_gradients=d_chunk)
        sums = [a + b for a, b in zip(sums, gradients, strict=True)] if sums else gradients
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


def _after(done: Sequence[tf.Tensor], chunk: tf.Tensor) -> tf.Tensor:
    """`chunk`, once `done` is: else a graph would run all chunks, and hold them, at once.

    The added zero depends on data, because XLA ignores control dependencies and would take both
    passes over a chunk for one.
    """
    if not done:
        return chunk
    with tf.control_dependencies(done):
        return chunk + tf.cast(0.0 * tf.reduce_sum(done[-1]), chunk.dtype)


def _split(views: tf.Tensor, k: int) -> list[tf.Tensor]:
    """[2n, ...], view a first, into k of [2n/k, ...], each with both views of its images."""
    rows = views.shape[0]
    if rows is None or rows % (2 * k):
        images = "an unknown number of" if rows is None else rows // 2
        raise UsageError(f"--micro_batches={k} does not divide the {images} images of a replica")
    pairs = tf.reshape(views, [2, k, rows // (2 * k), *views.shape[1:]])
    return [tf.reshape(pairs[:, i], [rows // k, *views.shape[1:]]) for i in range(k)]


def _join(chunks: Sequence[tf.Tensor]) -> tf.Tensor:
    """The inverse of `_split`."""
    pairs = [tf.split(chunk, 2) for chunk in chunks]
    return tf.concat([a for a, _ in pairs] + [b for _, b in pairs], axis=0)


def _scales_loss(optimizer: Any) -> bool:
    return hasattr(optimizer, "get_scaled_loss")  # Keras's LossScaleOptimizer, under mixed_float16
