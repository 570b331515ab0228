"""InfoNCE between images and texts, both ways (CLIP, Radford et al., 2021, Fig. 3)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives.unit import unit
from tf_simclr.replicas.gather import gather_replicas, sum_replicas


def image_text(
    images: tf.Tensor, texts: tf.Tensor, scale: tf.Tensor, meanings: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of N pairs, over all replicas of a strategy, each of which gives its own n.

    Where all meanings differ it is (CE(s I T') + CE(s T I')) / 2 with the pairs on the diagonal. A text that
    stands in the batch several times is no negative of its images: the target is spread evenly over what
    means the same (UniCL, Yang et al., 2022, arXiv:2204.03610, Eq. 2 and 3), and the entropy of the target, a
    constant, is taken off: the loss of a perfect batch is 0, not mean log(n_c).

    Args:
        images, texts: [n, P], any float dtype; compared by cosine.
        scale: s, a scalar that learns.
        meanings: integers [n], equal where texts say the same.

    Returns:
        This replica's part of the loss, for its gradient; the loss of all replicas, and the share of their
        rows whose nearest of the other kind means the same.
    """
    images, texts = unit(images), unit(texts)
    scale = tf.cast(scale, images.dtype)
    everyones = gather_replicas(meanings)  # [N]
    same = tf.cast(meanings[:, tf.newaxis] == everyones, images.dtype)  # [n, N]
    to_texts = _direction(scale * tf.matmul(images, gather_replicas(texts), transpose_b=True), same)
    to_images = _direction(scale * tf.matmul(texts, gather_replicas(images), transpose_b=True), same)
    own = tf.stack(to_texts) + tf.stack(to_images)
    own /= 2 * tf.cast(tf.size(everyones), own.dtype)
    loss, accuracy = tf.unstack(sum_replicas(tf.stop_gradient(own)))
    return own[0], loss, accuracy


def _direction(logits: tf.Tensor, same: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums over the rows [n, N] of KL(target || softmax), and of whether the largest is one of the same."""
    count = tf.reduce_sum(same, axis=1, keepdims=True)
    losses = tf.nn.softmax_cross_entropy_with_logits(same / count, logits) - tf.math.log(count[:, 0])
    found = tf.gather(same, tf.argmax(logits, axis=1), batch_dims=1)
    return tf.reduce_sum(losses), tf.reduce_sum(found)
