"""The margin triplet loss of inner products (Table 2)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.statistics import Contrast


def margin_triplet(
    projections: tf.Tensor,
    temperature: float,
    l2_normalize: bool = True,
    negatives: str = "all",
    margin: float = 0.8,
) -> Contrast:
    """max(u.v- - u.v+ + m, 0): mean over the 2N anchors u, and over their negatives v-.

    Negatives are the other images' opposite views (App. B.10).

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: of the entropy that is reported; the loss has none.
        l2_normalize: u and v of length 1 (Table 2).
        negatives: "all", or "semi_hard": the closest within the margin that is farther than the positive.
        margin: m (App. B.10 tries 0, 0.4, 0.8, 1.6 and does not say which was best).

    Raises:
        UsageError: a margin below 0, or of 0 with semi-hard negatives.
    """
    anchors.check_margin(margin, negatives)
    z = anchors.gathered(projections, l2_normalize)
    return anchors.hinge(anchors.opposite_views(z), z, temperature, negatives, margin)
