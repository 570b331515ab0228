"""A classifier of known classes whose features are clustered by class (ORE, arXiv:2103.02603, Sec. 4.1)."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.image_size import ImageSize
from tf_simclr.models.class_prototypes import ClassPrototypes
from tf_simclr.models.classifier import Classifier
from tf_simclr.models.losses import cross_entropy, labelled_rows
from tf_simclr.objectives.contrastive_clustering import contrastive_clustering


@dataclasses.dataclass(frozen=True)
class Clustering:
    """How features are clustered; steps are counted from the run's first.

    `weight` is of the mean over features and classes, as in the authors' code; Eq. 1 adds the classes up.
    `queue_size` features of a class make its prototype, at `start_step` and every `between_steps` after it;
    `momentum` is the share of its old value that it keeps.
    """

    weight: float = 0.1
    margin: float = 10.0
    norm: float = 2.0
    queue_size: int = 20
    start_step: int = 1000
    between_steps: int = 3000
    momentum: float = 0.99


class Outputs(NamedTuple):
    """What the classifier sees, [b, D], and says, [b, C]."""

    features: tf.Tensor
    logits: tf.Tensor


class OpenSet(Classifier):
    """A `Classifier` whose loss is cross-entropy + weight * contrastive clustering.

    Args:
        encoder, num_classes, projection_head: as `Classifier`'s.
        clustering: of what the classifier sees: h, or the chosen head layer's output.
        **options: `Classifier`'s.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        num_classes: int,
        projection_head: tf.keras.layers.Layer | None = None,
        *,
        clustering: Clustering,
        **options: Any,
    ) -> None:
        super().__init__(encoder, num_classes, projection_head, **options)
        self.clustering = clustering
        self.clusters: Any = None  # ClassPrototypes, once it is compiled
        self.clustering_loss = tf.keras.metrics.Mean("clustering_loss")

    def compile(self, optimizer: Any = "sgd", image_size: ImageSize = 32, **options: Any) -> None:
        super().compile(optimizer, image_size, **options)
        if self.clusters is None:
            width, count = self.classifier.dense.kernel.shape
            dtype = self.classifier.dense.kernel.dtype
            with self.distribute_strategy.scope():
                self.clusters = ClassPrototypes(count, width, self.clustering.queue_size, dtype)

    def forward(self, images: tf.Tensor, training: bool) -> Outputs:
        features = self.features(images, training=training)
        return Outputs(features, self.classifier(features))

    def objective(self, outputs: Outputs, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
        losses = self._clustering_losses(outputs.features, labels)
        clustering = tf.math.divide_no_nan(tf.reduce_sum(losses), labelled_rows(labels, losses.dtype))
        return cross_entropy(outputs.logits, labels) + self.clustering.weight * clustering

    def after_step(self, labels: tf.Tensor, outputs: Outputs) -> None:
        """Queues the features; at the steps that are due the prototypes follow."""
        self.clusters.push(outputs.features, labels)
        since = tf.cast(self.optimizer.iterations, tf.int64) - self.clustering.start_step
        due = (since >= 0) & (since % self.clustering.between_steps == 0)
        self.clusters.move(self.clustering.momentum, due)

    def measured(
        self, labels: tf.Tensor, outputs: Outputs, targets: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """A `Classifier`'s, and the mean of the clustering over features and classes."""
        losses = self._clustering_losses(outputs.features, labels)
        self.clustering_loss.update_state(losses, sample_weight=labels >= 0)
        return super().measured(labels, outputs.logits, targets)

    def _clustering_losses(self, features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The mean over the classes that have a prototype, [b]; 0 of an image without a label."""
        prototypes = tf.convert_to_tensor(self.clusters.prototypes)
        present, settings = self.clusters.present, self.clustering
        losses = contrastive_clustering(
            tf.cast(features, prototypes.dtype), labels, prototypes, present, settings.margin, settings.norm
        )
        classes = tf.reduce_sum(tf.cast(present, losses.dtype))
        return tf.where(labels >= 0, tf.math.divide_no_nan(losses, classes), 0)
