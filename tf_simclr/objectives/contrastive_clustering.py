"""ORE's contrastive clustering: features come to their class's prototype and keep off the other classes'.

Joseph, Khan, Khan, Balasubramanian. Towards Open World Object Detection. CVPR 2021, arXiv:2103.02603, Eq. 1.
"""

from __future__ import annotations

import tensorflow as tf

_CLOSEST = 1e-12  # below which two points are one: a root has no gradient at 0


def contrastive_clustering(
    features: tf.Tensor,
    labels: tf.Tensor,
    prototypes: tf.Tensor,
    present: tf.Tensor,
    margin: float = 10.0,
    norm: float = 2.0,
) -> tf.Tensor:
    """sum_i l(f_c, p_i) of each feature, [b]: D(f_c, p_i) where i = c, else max(0, margin - D) (Eq. 1).

    The authors' code gives its margin, 10, to the norm, and hinges at 2; margin 10 and Euclid's norm were
    meant (their issue 34). Its class without features has the zero vector for a prototype, which repels; here
    it has none.

    Args:
        features: [b, D], float.
        labels: [b], integers in [0, C); of one without a label (-1) all prototypes are others'.
        prototypes: [C, D], of the same dtype.
        present: bool [C], which classes have one.
        margin: Delta, a distance.
        norm: p of `distances`.
    """
    apart = distances(features, prototypes, norm)  # [b, C]
    own = tf.one_hot(labels, tf.shape(prototypes)[0], dtype=apart.dtype)
    losses = own * apart + (1 - own) * tf.nn.relu(margin - apart)
    return tf.reduce_sum(losses * tf.cast(present, apart.dtype), axis=1)


def distances(features: tf.Tensor, prototypes: tf.Tensor, norm: float = 2.0) -> tf.Tensor:
    """(sum_d |f_d - p_d|^norm)^(1/norm) of all pairs, [b, C], with the gradient 0 where it is 0.

    It takes b * C * D numbers. Differences are divided by the largest, so that no power leaves float32.

    Args:
        features: [b, D].
        prototypes: [C, D].
        norm: at least 1; 2 is Euclid's.
    """
    apart = tf.abs(features[:, tf.newaxis] - prototypes)  # [b, C, D]
    largest = tf.stop_gradient(tf.maximum(tf.reduce_max(apart, axis=2), _CLOSEST))
    powers = tf.reduce_sum((apart / largest[..., tf.newaxis]) ** norm, axis=2)  # from 1 on, or 0
    return largest * tf.maximum(powers, _CLOSEST) ** (1 / norm)
