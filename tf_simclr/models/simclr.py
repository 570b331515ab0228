"""SimCLR as a Keras model: views -> h -> z -> NT-Xent (Sec. 2, Alg. 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.augment import Augmentations
from tf_simclr.models import micro_batching
from tf_simclr.models.compiling import example_image, exclude_from_decay
from tf_simclr.models.losses import REPLICAS_AGREE, cross_entropy, kernels, layer_losses, replica_share
from tf_simclr.networks.heads import LinearClassifier
from tf_simclr.objectives import nt_xent
from tf_simclr.optimizers import kernels_l2
from tf_simclr.replicas.gather import num_replicas, replica_id

ONLINE_RATE = 0.1
"""The online classifier learns at this fraction of the optimizer's rate: at the authors' full rate its
loss goes through 31 before it settles. Its gradient never reaches the encoder."""


class SimCLR(tf.keras.Model):
    """Pretrains an encoder; use through `compile` and `fit`.

    A batch is a dict: `views` [N, 2, H, W, 3], uint8 or float in [0, 1]; optionally `uniforms` [N, 2, K]
    float32 in [0, 1), from which the augmentations take their factors (drawn here, from the seed and the
    step, when absent); with an online classifier, `label` [N] integers (-1: unknown).

    Args:
        encoder: any Keras model that maps images [b, H, W, 3] in [0, 1] to h [b, D]; losses of its layers,
            such as regularisers of kernels, are minimised too (of activities only with one micro-batch).
        projection_head: maps h to z [b, P].
        augmentations: colour distortion and blur, applied to the 2N views in the step; None: none.
        temperature: NT-Xent's (Eq. 1).
        l2_normalize: compare by cosine; otherwise by inner product.
        num_classes: of the online classifier on stop_gradient(h) (App. B.6); 0: none.
        seed: of the augmentations when a batch brings no `uniforms`.
        l2: weight of half the squared norm of the kernels, for optimizers without coupled weight decay.
        block_size: rows of NT-Xent's similarity matrix held at a time; None: the whole matrix.
        micro_batches: chunks to encode a replica's images in, see `micro_batching`.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        projection_head: tf.keras.layers.Layer,
        augmentations: Augmentations | None = None,
        *,
        temperature: float = 0.1,
        l2_normalize: bool = True,
        num_classes: int = 0,
        seed: int = 0,
        l2: float = 0.0,
        block_size: int | None = None,
        micro_batches: int = 1,
    ) -> None:
        super().__init__(name="simclr")
        self.distribute_reduction_method = REPLICAS_AGREE
        self.encoder = encoder
        self.projection_head = projection_head
        self.classifier = LinearClassifier(num_classes) if num_classes else None
        self.augmentations = augmentations or Augmentations([])
        self.temperature = temperature
        self.l2_normalize = l2_normalize
        self.seed = seed
        self.l2 = l2
        self.block_size = block_size
        self.micro_batches = micro_batches
        self.contrastive_metrics = {
            name: tf.keras.metrics.Mean(f"contrastive_{name}") for name in ("loss", "accuracy", "entropy")
        }
        if num_classes:
            self.online_loss = tf.keras.metrics.Mean("online_loss")
            self.online_accuracy = tf.keras.metrics.SparseCategoricalAccuracy("online_accuracy")

    def compile(self, optimizer: Any = "sgd", image_size: int = 32, **options: Any) -> None:
        """As Keras's; vectors and the online classifier are kept from decay and layer adaptation.

        `image_size` is the side, in pixels, that variables are created for where the encoder does not say.
        """
        h = self.encoder(example_image(self.encoder, image_size))
        self.projection_head(h)
        if self.classifier is not None:
            self.classifier(h)
        optimizer = tf.keras.optimizers.get(optimizer)
        exclude_from_decay(optimizer, self)
        self.built = True
        super().compile(optimizer=optimizer, **options)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images [b, H, W, 3] in [0, 1] to projections z [b, P]."""
        return self.encode(images, training)[1]

    def encode(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [b, H, W, 3] in [0, 1] to representations h [b, D] and projections z [b, P]."""
        h = self.encoder(images, training=training)
        return h, self.projection_head(h, training=training)

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images = self.augmented_views(batch)  # [2N, H, W, 3], view a first
        if self.micro_batches > 1:
            micro_batching.minimize(self, images, lambda h, z: self._loss(h, z, batch))
        else:
            with tf.GradientTape() as tape:
                h, z = self.encode(images, training=True)  # [2N, D], [2N, P]
                loss = self._loss(h, z, batch)
            self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same figures with batch norm in inference mode, for `evaluate` and validation data.

        Batches without `uniforms` are all augmented by the same draws, those of the seed and the last step.
        """
        h, z = self.encode(self.augmented_views(batch), training=False)
        self._loss(h, z, batch)
        return {metric.name: metric.result() for metric in self.metrics}

    def _loss(self, h: tf.Tensor, z: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What is minimised; the metrics take note."""
        contrastive = nt_xent(z, self.temperature, self.l2_normalize, self.block_size)
        self.contrastive_metrics["loss"].update_state(contrastive.loss)
        self.contrastive_metrics["accuracy"].update_state(contrastive.contrastive_accuracy)
        self.contrastive_metrics["entropy"].update_state(contrastive.contrastive_entropy)
        loss = contrastive.loss
        if self.l2:
            decayed = [*kernels(self.encoder), *kernels(self.projection_head)]
            loss += replica_share(tf.cast(kernels_l2(decayed, self.l2), loss.dtype))
        loss += layer_losses(self, loss.dtype)
        if self.classifier is not None:
            loss += ONLINE_RATE * self._online_loss(h, batch["label"])
        return loss

    def augmented_views(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The 2N views of a batch, augmented: [2N, H, W, 3] float32 in [0, 1], view a first."""
        uniforms = batch.get("uniforms")
        if uniforms is None:
            uniforms = self._drawn(tf.shape(batch["views"])[0])
        return self.augmentations(_view_a_first(batch["views"]), _view_a_first(uniforms))

    def _drawn(self, images: tf.Tensor) -> tf.Tensor:
        """Uniforms [N, 2, K] of this replica's N images, out of those of the global batch."""
        step = tf.cast(self.optimizer.iterations, tf.int64)
        shape = [num_replicas(), images, 2, self.augmentations.num_uniforms]
        drawn = tf.random.stateless_uniform(shape, seed=tf.stack([tf.cast(self.seed, tf.int64), step]))
        return tf.gather(drawn, replica_id())

    def _online_loss(self, h: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The online classifier's loss on both views (authors' code), the replica's part of it."""
        logits = self.classifier(tf.stop_gradient(h))  # [2N, C]
        labels = tf.tile(labels, [2])  # [2N], -1 where there is none
        labelled = labels >= 0
        loss = cross_entropy(logits, labels)
        self.online_loss.update_state(loss * num_replicas())
        self.online_accuracy.update_state(tf.maximum(labels, 0), logits, sample_weight=labelled)
        return loss


def _view_a_first(pairs: tf.Tensor) -> tf.Tensor:
    """[N, 2, ...] to [2N, ...]: all first views, then all second ones."""
    return tf.concat([pairs[:, 0], pairs[:, 1]], axis=0)
