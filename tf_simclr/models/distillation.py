"""Distillation: a student learns what a teacher says of images (SimCLRv2, arXiv:2006.10029, Sec. 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr.models.classifier import Classifier
from tf_simclr.models.losses import cross_entropy
from tf_simclr.replicas.gather import replica_share


class Distillation(Classifier):
    """A `Classifier` trained on a teacher's distribution over the classes, by labels too where asked for.

    A batch is a `Classifier`'s; without `label_weight` its labels are not looked at.

    Args:
        encoder, num_classes, projection_head: as `Classifier`'s, of the student.
        teacher: images [b, H, W, 3] in [0, 1] to logits [b, C], in inference mode. It is neither trained nor
            saved with the student.
        temperature: of both distributions (0.1 by itself, 1.0 to a smaller student).
        label_weight: 1 - alpha of Eq. 3.
        **options: `Classifier`'s.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        num_classes: int,
        projection_head: tf.keras.layers.Layer | None = None,
        *,
        teacher: Callable[[tf.Tensor], tf.Tensor],
        temperature: float = 0.1,
        label_weight: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(encoder, num_classes, projection_head, **options)
        self._teacher = lambda: teacher  # Keras takes a model for a part of this one
        self.temperature = temperature
        self.label_weight = label_weight
        self.agreement = tf.keras.metrics.Mean("agreement")
        self.label_loss = tf.keras.metrics.Mean("label_loss")

    def targets(self, images: tf.Tensor) -> tf.Tensor:
        """The teacher's logits [b, C] of the images that the student sees, distorted as they are (Sec. 3)."""
        return tf.stop_gradient(self._teacher()(images))

    def objective(self, outputs: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        losses = soft_cross_entropy(outputs, targets, self.temperature)
        loss = (1.0 - self.label_weight) * replica_share(tf.reduce_mean(losses))  # Eq. 2; Eq. 3, alpha's term
        if self.label_weight:
            loss += self.label_weight * cross_entropy(outputs, labels)
        return loss

    def measured(self, labels: tf.Tensor, outputs: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """Eq. 2, the share of images whose best class is the teacher's, and the labels' figures if used."""
        self.loss_mean.update_state(soft_cross_entropy(outputs, targets, self.temperature))
        agrees = tf.equal(tf.argmax(outputs, axis=1), tf.argmax(targets, axis=1))
        self.agreement.update_state(tf.cast(agrees, outputs.dtype))
        shown = [self.loss_mean, self.agreement]
        if self.label_weight:
            labelled, labels = labels >= 0, tf.maximum(labels, 0)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=outputs)
            self.label_loss.update_state(losses, sample_weight=labelled)
            self.top1.update_state(labels, outputs, sample_weight=labelled)
            shown += [self.label_loss, self.top1]
        return {metric.name: metric.result() for metric in shown}


def soft_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, temperature: float) -> tf.Tensor:
    """-sum_y P_T(y|x) log P_S(y|x) of each image, [b], with P = softmax(logits / temperature) (Eq. 2).

    Its gradient by the student's logits is (P_S - P_T) / temperature. The authors' notebook multiplies by the
    temperature squared, which the paper does not; nor is it done here.
    """
    probabilities = tf.nn.softmax(tf.cast(targets, logits.dtype) / temperature)
    return tf.nn.softmax_cross_entropy_with_logits(labels=probabilities, logits=logits / temperature)
