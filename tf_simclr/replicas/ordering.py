"""Parts of a computation that must run one after another, so that only one of them is held in memory."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def after(done: Sequence[tf.Tensor], tensor: tf.Tensor) -> tf.Tensor:
    """`tensor`, once the finite tensors `done` are computed.

    By control dependencies for TensorFlow's executor, and by an added zero made of `done` for XLA, which
    ignores these: it would order the parts as it likes, and take equal ones for one.
    """
    if not done:
        return tensor
    zero = 0.0 * tf.add_n([tf.reduce_sum(tf.cast(value, tf.float32)) for value in done])
    with tf.control_dependencies(done):
        return tensor + tf.cast(zero, tensor.dtype)
