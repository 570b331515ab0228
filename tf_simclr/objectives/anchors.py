"""Anchors, their positive and their negatives: what objectives of pairs and triplets are made of.

Every view is an anchor, the image's other view its positive. Under a strategy the negatives are those of all
replicas, and an objective is the global one on every replica with this replica's part of the gradient, as
`nt_xent` explains.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.objectives.statistics import Contrast, retrieval_sums
from tf_simclr.objectives.unit import unit
from tf_simclr.replicas.gather import gather_views, positions_of_views, sum_replicas

NEGATIVES = ("all", "semi_hard")


class Anchors(NamedTuple):
    """How close this replica's views are to the candidates of all replicas; larger is closer.

    Attributes:
        closeness: [2n, C].
        positive: [2n], that of the image's other view.
        negative: bool [2n, C], which candidates are views of other images.
    """

    closeness: tf.Tensor
    positive: tf.Tensor
    negative: tf.Tensor


class Projections(NamedTuple):
    """This replica's z [2n, d] and those of all replicas [2N, d], view a first, in float32 or float64."""

    own: tf.Tensor
    everything: tf.Tensor


def gathered(projections: tf.Tensor, l2_normalize: bool) -> Projections:
    """z as objectives compute with them: float32, float64 for float64 projections."""
    wide = projections.dtype if projections.dtype == tf.float64 else tf.float32
    z = unit(projections) if l2_normalize else tf.cast(projections, wide)
    return Projections(z, gather_views(z))


def opposite_views(z: Projections) -> Anchors:
    """Inner products with one view of every image (App. B.10): view b for an anchor of view a, a for b."""
    (a, b), (all_a, all_b) = tf.split(z.own, 2), tf.split(z.everything, 2)
    products = [tf.matmul(own, other, transpose_b=True) for own, other in ((a, all_b), (b, all_a))]
    images = _images(z)
    positive = tf.tile(tf.reduce_sum(a * b, axis=1), [2])
    negative = tf.not_equal(images[:, tf.newaxis], tf.range(tf.shape(all_a)[0]))
    return Anchors(tf.concat(products, axis=0), positive, negative)


def all_views(z: Projections) -> Anchors:
    """Minus the squared distances to all 2N views; the anchor and its positive are no negatives."""
    own, everything = (tf.reduce_sum(tf.square(rows), axis=1) for rows in z)
    products = tf.matmul(z.own, z.everything, transpose_b=True)
    distances = tf.nn.relu(own[:, tf.newaxis] + everything - 2 * products)
    a, b = tf.split(z.own, 2)
    positive = tf.tile(tf.reduce_sum(tf.square(a - b), axis=1), [2])
    images = tf.range(tf.shape(z.everything)[0]) % (tf.shape(z.everything)[0] // 2)
    return Anchors(-distances, -positive, tf.not_equal(_images(z)[:, tf.newaxis], images))


def over_negatives(
    terms: tf.Tensor, anchors: Anchors, negatives: str = "all", margin: float | None = None
) -> tf.Tensor:
    """An anchor's mean of `terms` [2n, C] over its negatives, or the term of its semi-hard one: [2n].

    Semi-hard is the closest negative that is farther than the positive and within the margin (Sec. 5.1); an
    anchor that has none gives 0.

    Raises:
        UsageError: `negatives` is neither.
    """
    if negatives not in NEGATIVES:
        raise UsageError(f"--negatives={negatives}: choose one of {', '.join(NEGATIVES)}")
    if negatives == "all":
        chosen = tf.cast(anchors.negative, terms.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(chosen * terms, axis=1), tf.reduce_sum(chosen, axis=1))
    positive = anchors.positive[:, tf.newaxis]
    farther = anchors.negative & (anchors.closeness < positive)
    if margin is not None:
        farther &= anchors.closeness > positive - margin
    closest = tf.argmax(tf.where(farther, anchors.closeness, terms.dtype.min), axis=1)
    found = tf.cast(tf.reduce_any(farther, axis=1), terms.dtype)
    return found * tf.gather(terms, closest, batch_dims=1)


def hinge(anchors: Anchors, z: Projections, temperature: float, negatives: str, margin: float) -> Contrast:
    """max(closeness of a negative - that of the positive + margin, 0), over negatives and anchors."""
    losses = tf.nn.relu(anchors.closeness - anchors.positive[:, tf.newaxis] + margin)
    return mean_over_anchors(over_negatives(losses, anchors, negatives, margin), z, temperature)


def mean_over_anchors(losses: tf.Tensor, z: Projections, temperature: float) -> Contrast:
    """The mean over all replicas' 2N anchors of this replica's `losses` [2n], with its statistics."""
    return summed(tf.reduce_sum(losses) / tf.cast(tf.shape(z.everything)[0], losses.dtype), z, temperature)


def summed(own_loss: tf.Tensor, z: Projections, temperature: float) -> Contrast:
    """The sum of the replicas' losses, with retrieval by inner product and its entropy at `temperature`.

    The gathered projections' gradient already sums over replicas: the own part alone is differentiated.
    """
    images = tf.split(_images(z), 2)[0]
    correct, entropy = retrieval_sums(tf.stop_gradient(logits_ab(z, temperature)), images)
    own = tf.stop_gradient(tf.stack([own_loss, correct, entropy]))
    loss, correct, entropy = tf.unstack(sum_replicas(own))
    count = tf.cast(tf.shape(z.everything)[0] // 2, loss.dtype)
    return Contrast(own_loss + tf.stop_gradient(loss - own_loss), correct / count, entropy / count)


def logits_ab(z: Projections, temperature: float) -> tf.Tensor:
    """Own views a against every image's view b, u.v / tau: [n, N]."""
    a, all_b = tf.split(z.own, 2)[0], tf.split(z.everything, 2)[1]
    return tf.matmul(a / temperature, all_b, transpose_b=True)


def check_weight(name: str, value: float) -> None:
    """UsageError unless `value` is a number of 0 or more."""
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise UsageError(f"{name}={value!r}: give a number of 0 or more")


def check_margin(margin: float, negatives: str = "all") -> None:
    """UsageError unless a margin is 0 or more; above 0 where negatives are sought within it."""
    check_weight("margin", margin)
    if negatives == "semi_hard" and not margin:
        raise UsageError("margin=0: no negative lies within it; give one above 0 with --negatives=semi_hard")


def _images(z: Projections) -> tf.Tensor:
    """The image of each own view among the N: int32 [2n]."""
    n = tf.shape(z.own)[0] // 2
    return tf.tile(positions_of_views(n)[:n], [2])
