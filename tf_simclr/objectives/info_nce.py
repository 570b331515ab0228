"""InfoNCE in one direction (van den Oord, Li, Vinyals, 2018, arXiv:1807.03748)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.statistics import Contrast


def info_nce(projections: tf.Tensor, temperature: float, l2_normalize: bool = True) -> Contrast:
    """-log( exp(u.v+ / tau) / sum_v exp(u.v / tau) ): mean over the N views a, v over all N views b (Eq. 4).

    NT-Xent has both directions, and the other views of the anchor's own kind among its negatives.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: tau > 0.
        l2_normalize: True compares by cosine, False by inner product.
    """
    z = anchors.gathered(projections, l2_normalize)
    return one_direction(z, temperature)


def one_direction(z: anchors.Projections, temperature: float, regularization: float = 0.0) -> Contrast:
    """The cross entropy of finding view b by view a, with that weight of half the mean of |z|^2."""
    a, b = tf.split(z.own, 2)
    logits = anchors.logits_ab(z, temperature)  # [n, N]
    losses = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_sum(a * b, axis=1) / temperature
    norms = regularization / 4 * tf.reduce_sum(tf.square(z.own))  # of two views an image
    images = tf.cast(tf.shape(z.everything)[0] // 2, losses.dtype)
    return anchors.summed((tf.reduce_sum(losses) + norms) / images, z, temperature)
