"""NT-Logistic, the logistic loss at a temperature (Table 2)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.statistics import Contrast


def nt_logistic(
    projections: tf.Tensor, temperature: float, l2_normalize: bool = True, negatives: str = "all"
) -> Contrast:
    """-log s(u.v+ / tau) - log s(-u.v- / tau), s the sigmoid: mean over the 2N anchors u.

    The second term is the mean over the other images' opposite views, or that of the closest one that is
    farther than the positive: without a margin there is none to be within.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: tau > 0 (App. B.10 tries 0.1, 0.2, 0.5, 1).
        l2_normalize: u and v of length 1 (Table 2).
        negatives: "all" or "semi_hard".
    """
    z = anchors.gathered(projections, l2_normalize)
    views = anchors.opposite_views(z)
    repulsion = anchors.over_negatives(tf.nn.softplus(views.closeness / temperature), views, negatives)
    return anchors.mean_over_anchors(
        tf.nn.softplus(-views.positive / temperature) + repulsion, z, temperature
    )
