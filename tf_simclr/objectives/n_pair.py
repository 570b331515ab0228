"""The multi-class N-pair loss (Sohn, NeurIPS 2016)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.objectives import anchors
from tf_simclr.objectives.info_nce import one_direction
from tf_simclr.objectives.statistics import Contrast


def n_pair(projections: tf.Tensor, l2_weight: float = 0.002) -> Contrast:
    """log(1 + sum_v- exp(u.v- - u.v+)): mean over the N views a, v- over the other images' view b (Eq. 7).

    z keeps its length, which is regularised in place of normalised (Sec. 3.2.2): plus `l2_weight` times half
    the mean of |z|^2 over the 2N views, at the weight of TensorFlow's former npairs_loss.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        l2_weight: of the squared length, 0 or more.

    Raises:
        UsageError: a weight below 0.
    """
    anchors.check_weight("l2_weight", l2_weight)
    return one_direction(anchors.gathered(projections, l2_normalize=False), 1.0, l2_weight)
