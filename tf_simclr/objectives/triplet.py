"""The triplet loss of squared distances (FaceNet; Schroff, Kalenichenko, Philbin, 2015, arXiv:1503.03832)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.statistics import Contrast


def triplet(
    projections: tf.Tensor,
    temperature: float,
    l2_normalize: bool = True,
    negatives: str = "all",
    margin: float = 0.2,
) -> Contrast:
    """max(|u - v+|^2 - |u - v-|^2 + m, 0) (Eq. 2): mean over the 2N anchors u, and over their negatives v-.

    Negatives are all views of other images.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: of the entropy that is reported; the loss has none.
        l2_normalize: u and v of length 1 (Sec. 3.1).
        negatives: "all", or "semi_hard": the closest within the margin that is farther than the positive.
        margin: m, 0.2 in Sec. 5.2.

    Raises:
        UsageError: a margin below 0, or of 0 with semi-hard negatives.
    """
    anchors.check_margin(margin, negatives)
    z = anchors.gathered(projections, l2_normalize)
    return anchors.hinge(anchors.all_views(z), z, temperature, negatives, margin)
