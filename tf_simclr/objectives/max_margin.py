"""The contrastive loss of pairs with a margin (Hadsell, Chopra, LeCun, CVPR 2006)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.statistics import Contrast

_CLOSEST = 1e-6  # squared distance below which a pair no longer repels: the root has no gradient at 0


def max_margin(
    projections: tf.Tensor, temperature: float, l2_normalize: bool = True, margin: float = 1.0
) -> Contrast:
    """|u - v+|^2 + max(m - |u - v-|, 0)^2: mean over the 2N anchors u, and over their negatives v-.

    Eq. 4 without its halves, positive and negative pairs at equal weight in all: a batch has 2N - 2 times
    more negative pairs. Negatives are all views of other images.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: of the entropy that is reported; the loss has none.
        l2_normalize: u and v of length 1.
        margin: m > 0, a distance.

    Raises:
        UsageError: a margin below 0.
    """
    anchors.check_margin(margin)
    z = anchors.gathered(projections, l2_normalize)
    views = anchors.all_views(z)
    repulsion = tf.square(tf.nn.relu(margin - tf.sqrt(tf.maximum(-views.closeness, _CLOSEST))))
    losses = -views.positive + anchors.over_negatives(repulsion, views)
    return anchors.mean_over_anchors(losses, z, temperature)
