"""SupCon (Khosla et al., 2020): a view's positives are all other views of its class (Eq. 2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import TEMPERATURES, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.objectives import statistics, unit
    from tf_simclr.replicas import gather, traffic

_MATRIX_COPIES = 6  # of the similarity matrix: logits, masked, positives, their product, gradients (reckoned)
_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class SupCon(Method):
    """The supervised contrastive loss L_out; its second stage is `linear_eval`.

    An image without a label (-1) is a class of its own: its other view is its only positive.
    """

    citation: ClassVar[str] = (
        "Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan. Supervised Contrastive "
        "Learning. NeurIPS 2020, arXiv:2004.11362."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy")
    defaults: ClassVar[Mapping[str, Any]] = {"proj_batch_norm": "none"}  # authors' code
    needs_labels: ClassVar[bool] = True

    temperature: float = option(0.1, "temperature of the similarities (Sec. 4)", **TEMPERATURES)
    base_temperature: float = option(
        0.07, "the loss is times temperature over this (authors' code; 1: the paper's factor)", **TEMPERATURES
    )
    labelled_fraction: float = option(
        1.0, "share of the labels that is used, class-balanced; other images count alone", above=0, maximum=1
    )

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        z = unit.unit(outputs)  # [2n, P]
        own = gather.positions_of_views(tf.shape(z)[0] // 2)
        classes = _classes(batch["label"])
        logits = statistics.mask_self(
            tf.matmul(z / self.temperature, gather.gather_views(z), transpose_b=True), own
        )  # [2n, 2N]
        positives = _positives(classes, own)
        sums = tf.stack([tf.reduce_sum(_l_out(logits, positives)), _nearest_are_positive(logits, positives)])
        loss, correct = tf.unstack(sums / tf.cast(tf.size(classes), z.dtype))  # mean over the 2N anchors
        loss *= self.temperature / self.base_temperature
        figures = tf.unstack(gather.sum_replicas(tf.stop_gradient(tf.stack([loss, correct]))))
        return loss, dict(zip(self.figures, figures, strict=True))

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """2n rows of the 2N x 2N similarity matrix, z with its gradient; z is exchanged, and its gradient."""
        z = _FLOAT * 2 * images * dim
        return Sizes(
            loss=_FLOAT * _MATRIX_COPIES * 2 * own * 2 * images + 4 * z,
            exchanged=traffic.all_reduce(2 * z, replicas),
        )


def _classes(labels: tf.Tensor) -> tf.Tensor:
    """The classes of all views in the order of `gather_views`, [2N], below 0 those of a single image."""
    labels = gather.gather_replicas(labels)  # [N]
    alone = -1 - tf.range(tf.size(labels), dtype=labels.dtype)
    return tf.tile(tf.where(labels < 0, alone, labels), [2])


def _positives(classes: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """P(i) of Eq. 2 for the anchors at `own`, as a bool matrix [2n, 2N]."""
    same = tf.gather(classes, own)[:, tf.newaxis] == classes
    return same & (own[:, tf.newaxis] != tf.range(tf.size(classes)))


def _l_out(logits: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
    """Eq. 2 of every anchor, [2n]: the denominator, over A(i), is the same for all positives."""
    weights = tf.cast(positives, logits.dtype)
    similarity = tf.reduce_sum(weights * logits, axis=1) / tf.reduce_sum(weights, axis=1)
    return tf.reduce_logsumexp(logits, axis=1) - similarity


def _nearest_are_positive(logits: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
    """How many anchors' nearest view is of their class."""
    nearest = tf.argmax(logits, axis=1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.gather(positives, nearest, batch_dims=1), logits.dtype))
