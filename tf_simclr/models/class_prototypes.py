"""The prototype of each class and the queue of its latest features that it follows (ORE, arXiv:2103.02603).

Sec. 4.1 and Alg. 1 of the paper. All variables are equal on all replicas, and are saved with their model.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.replicas.gather import gather_replicas


class ClassPrototypes(tf.Module):
    """Prototypes [C, D], and the last Q features of each class, [C, Q, D].

    Args:
        num_classes: C.
        width: D.
        queue_size: Q (authors' code: 20).
        dtype: of both.
    """

    def __init__(self, num_classes: int, width: int, queue_size: int = 20, dtype: tf.DType = tf.float32):
        super().__init__(name="class_prototypes")
        self.prototypes = _shared_variable(tf.zeros([num_classes, width], dtype), "prototypes")
        self.moves = _shared_variable(tf.zeros([num_classes], tf.int64), "moves")  # of each prototype
        self.features = _shared_variable(tf.zeros([num_classes, queue_size, width], dtype), "features")
        self.pushed = _shared_variable(tf.zeros([num_classes], tf.int64), "pushed")  # features, ever

    @property
    def present(self) -> tf.Tensor:
        """Which classes have a prototype, bool [C]."""
        return tf.convert_to_tensor(self.moves) > 0

    def push(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Queues the features [b, D] of every replica, in replica order; those without a label (-1) are not.

        Of a class that has more than Q in the batch the last Q stay.
        """
        count, size, width = self.features.shape
        new = gather_replicas(tf.cast(tf.stop_gradient(features), self.features.dtype))  # [R * b, D]
        labels = gather_replicas(tf.cast(labels, tf.int64))
        member = tf.one_hot(labels, count, dtype=tf.int64)  # [R * b, C]
        place = tf.reduce_sum(member * (self.pushed + tf.cumsum(member, exclusive=True)), axis=1)
        after = self.pushed + tf.reduce_sum(member, axis=0)
        stays = (labels >= 0) & (place >= tf.reduce_sum(member * (after - size), axis=1))
        spare = tf.cast(count * size, tf.int64)  # a row for those that are dropped: shapes stay static
        rows = tf.where(stays, labels * size + place % size, spare)
        flat = tf.pad(tf.reshape(self.features, [count * size, width]), [[0, 1], [0, 0]])
        flat = tf.tensor_scatter_nd_update(flat, rows[:, tf.newaxis], new)
        self.features.assign(tf.reshape(flat[:-1], [count, size, width]))
        self.pushed.assign(after)

    def move(self, momentum: float, due: bool | tf.Tensor = True) -> None:
        """p <- momentum * p + (1 - momentum) * mean of the queue, where it is `due` and the queue holds any.

        A class's first prototype is the mean.
        """
        held = tf.minimum(self.pushed, self.features.shape[1])  # [C]
        mask = tf.sequence_mask(held, self.features.shape[1], self.features.dtype)[..., tf.newaxis]
        sums = tf.reduce_sum(self.features * mask, axis=1)  # [C, D]
        means = tf.math.divide_no_nan(sums, tf.cast(held, sums.dtype)[:, tf.newaxis])
        followed = momentum * self.prototypes + (1 - momentum) * means
        moved = tf.where(self.present[:, tf.newaxis], followed, means)
        moves = due & (held > 0)
        self.prototypes.assign(tf.where(moves[:, tf.newaxis], moved, self.prototypes))
        self.moves.assign_add(tf.cast(moves, tf.int64))


def _shared_variable(value: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(
        value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )
