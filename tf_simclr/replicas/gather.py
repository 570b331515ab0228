"""Collecting tensors from all replicas of a strategy, with gradient."""

from __future__ import annotations

import tensorflow as tf


def num_replicas() -> int:
    """Replicas in sync; 1 outside of a strategy."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_replicas(x: tf.Tensor) -> tf.Tensor:
    """Sum over replicas of a tensor of any shape, on every replica."""
    if num_replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def replica_share(loss: tf.Tensor) -> tf.Tensor:
    """What a replica adds of a loss that is the same on all: optimizers sum gradients over replicas."""
    return loss / tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)


def gather_replicas(x: tf.Tensor) -> tf.Tensor:
    """Concatenates `x` of every replica, in replica order.

    A scatter and a sum over replicas: unlike `all_gather` these have XLA kernels everywhere and keep
    static shapes. The gradient that a replica receives is the sum of what all replicas send back.

    Args:
        x: [n, ...], any numeric dtype, of the same shape on every replica.

    Returns:
        [R * n, ...] for R replicas, the same on every replica.
    """
    replicas = num_replicas()
    if replicas == 1:
        return x
    dynamic = tf.shape(x)
    shape = [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]
    own = tf.scatter_nd([[replica_id()]], x[tf.newaxis], [replicas, *shape])  # [R, n, ...], zero elsewhere
    return tf.reshape(sum_replicas(own), [replicas * shape[0], *shape[1:]])


def gather_views(x: tf.Tensor, num_views: int = 2) -> tf.Tensor:
    """As `gather_replicas`, for the views of images: [V * n, ...] -> [V * N, ...], all of view a first."""
    if num_replicas() == 1:
        return x
    by_image = gather_replicas(tf.stack(tf.split(x, num_views), axis=1))  # [N, V, ...]
    return tf.concat(tf.unstack(by_image, axis=1), axis=0)


def positions_of_views(n: int | tf.Tensor) -> tf.Tensor:
    """Where `gather_views` puts this replica's 2n rows among the 2N: int32 [2n]."""
    images = tf.range(n) + replica_id() * n
    return tf.concat([images, images + n * num_replicas()], axis=0)


def replica_id() -> int | tf.Tensor:
    """This replica's number; 0 outside of a strategy."""
    return 0 if num_replicas() == 1 else tf.distribute.get_replica_context().replica_id_in_sync_group
