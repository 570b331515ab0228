"""What is read off rows of the similarity matrix."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Contrast(NamedTuple):
    """What an objective returns: scalars over the global batch, of the loss's dtype, equal on every replica.

    Attributes:
        loss: what is minimised; NT-Xent's is at scale 2L.
        contrastive_accuracy: fraction (0 to 1) of the N images whose view b is, among all N, the
            nearest to their view a. No gradient.
        contrastive_entropy: mean entropy, in nats, of the softmax over these N logits. No gradient.
    """

    loss: tf.Tensor
    contrastive_accuracy: tf.Tensor
    contrastive_entropy: tf.Tensor


def mask_self(logits: tf.Tensor, own_column: tf.Tensor | None) -> tf.Tensor:
    """Lowers each row's similarity to itself to the dtype's minimum, so that its exp is 0.

    Args:
        logits: [rows, columns].
        own_column: int32 [rows]; None: row i's is column i, which needs no second matrix.
    """
    if own_column is None:
        return tf.linalg.set_diag(logits, tf.fill(tf.shape(logits)[:1], logits.dtype.min))
    itself = own_column[:, tf.newaxis] == tf.range(tf.shape(logits)[1])
    return tf.where(itself, logits.dtype.min, logits)


def log_sum_exp_without_self(logits: tf.Tensor, own_column: tf.Tensor | None) -> tf.Tensor:
    """log of the denominator of Eq. 1, sum over k != i: [rows, columns] -> [rows]."""
    return tf.reduce_logsumexp(mask_self(logits, own_column), axis=1)


def retrieval_sums(logits_ab: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Correct retrievals of view b by view a, and entropies in nats, summed over the rows.

    The authors' code adds 1e-8 inside the logarithm of the entropy, which lowers it by less than
    N * 1e-8; here it is left out.

    Args:
        logits_ab: [rows, N], some images' view a against every image's view b.
        images: int32 [rows], the column of each row's own image.
    """
    correct = tf.argmax(logits_ab, axis=1, output_type=images.dtype) == images
    log_p = tf.nn.log_softmax(logits_ab)
    return tf.reduce_sum(tf.cast(correct, log_p.dtype)), -tf.reduce_sum(tf.exp(log_p) * log_p)
