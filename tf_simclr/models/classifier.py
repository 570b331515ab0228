"""A classifier on an encoder: linear evaluation when the encoder is frozen, fine-tuning otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.augment import Augmentations
from tf_simclr.image_size import ImageSize, size_of
from tf_simclr.models import contracts, finite
from tf_simclr.models.compiling import example_image, exclude_from_decay
from tf_simclr.models.losses import (
    REPLICAS_AGREE,
    cross_entropy,
    in_unit_range,
    kernels,
    layer_losses,
)
from tf_simclr.models.model import Model
from tf_simclr.networks.heads import LinearClassifier
from tf_simclr.optimizers import kernels_l2
from tf_simclr.replicas.gather import replica_share


class Classifier(Model):
    """Images to logits through an encoder and, optionally, the first layers of a projection head.

    What is trained is what `trainable` says of the parts: `freeze_encoder()` is linear evaluation,
    `encoder.freeze(k)` fine-tunes what follows group k.

    A batch is a dict: `image` [b, H, W, C], uint8 or float in [0, 1]; `label` [b] integers; to be trained on
    with augmentations, `uniforms` [b, num_uniforms] float32 in [0, 1), from which these take their factors.

    Args:
        encoder: images to h [b, D]; losses of its layers, such as regularisers of kernels, are minimised too.
        num_classes: C.
        projection_head: needed when `head_layer` is not 0; otherwise kept beside, for export.
        head_layer: the head layer whose output is classified; 0 is h (SimCLRv2 fine-tunes from 1).
        zero_init: start the classifier's kernel from zero.
        l2: weight of half the squared norm of the trained kernels, added to the loss.
        augmentations: colour distortion and blur of the images that are trained on; None: none.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        num_classes: int,
        projection_head: tf.keras.layers.Layer | None = None,
        *,
        head_layer: int = 0,
        zero_init: bool = False,
        l2: float = 0.0,
        augmentations: Augmentations | None = None,
    ) -> None:
        super().__init__(name="classifier_on_encoder")
        self.distribute_reduction_method = REPLICAS_AGREE
        if head_layer and projection_head is None:
            raise ValueError("head_layer needs a projection_head")
        contracts.require_keras_2("encoder", encoder)
        self.encoder = encoder
        self.projection_head = projection_head
        for layer in projection_head.dense_layers[head_layer:] if projection_head is not None else ():
            layer.trainable = False  # kept for export, as it was
        self.classifier = LinearClassifier(num_classes, zero_init=zero_init)
        self.head_layer = head_layer
        self.image_size: int | str = 0  # and channels, of the images that were seen last; 0: none yet
        self.channels: int | None = 0
        self.l2 = l2
        self.augmentations = augmentations
        self.loss_mean = tf.keras.metrics.Mean("loss")
        self.top1 = tf.keras.metrics.SparseCategoricalAccuracy("accuracy")

    @property
    def num_uniforms(self) -> int:
        """Numbers an image that the augmentations take."""
        return 0 if self.augmentations is None else self.augmentations.num_uniforms

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images [b, H, W, C] in [0, 1] to logits [b, C], float32."""
        return self.classifier(self.features(images, training=training))

    def features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What the classifier sees: h [b, D], or the chosen head layer's output."""
        h = self.encoder(images, training=training)
        if not self.head_layer or self.projection_head is None:
            return h
        for layer in self.projection_head.dense_layers[: self.head_layer]:
            h = layer(h, training=training)
        return h

    def freeze_encoder(self) -> None:
        """Linear evaluation: nothing but the classifier is trained, batch norm stays in inference mode."""
        self.encoder.trainable = False
        if self.projection_head is not None:
            self.projection_head.trainable = False

    def compile(self, optimizer: Any = "sgd", image_size: ImageSize = 32, **options: Any) -> None:
        """As Keras's; vectors and the classifier are kept from decay and layer adaptation.

        `image_size` is what variables are created for where the encoder does not say.
        """
        image = example_image(self.encoder, image_size)
        if self.augmentations is not None:
            self.augmentations.require_channels(image.shape[-1])
        h = contracts.representation(self.encoder, image, pretraining=False)
        if self.projection_head is not None:
            self.projection_head(h)
        self(image)
        optimizer = tf.keras.optimizers.get(optimizer)
        exclude_from_decay(optimizer, self)
        super().compile(optimizer=optimizer, **options)
        finite.attach(self)

    @finite.guarded
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch = self._checked(batch, self.optimizer)
        images, labels = self.augmented(batch), batch["label"]
        targets = self.targets(images)
        with tf.GradientTape() as tape:
            outputs = self.forward(images, training=True)
            objective = self.objective(outputs, labels, targets)
            if self.l2:
                objective += replica_share(kernels_l2(kernels(self), self.l2))
            objective += layer_losses([self], objective.dtype)
        finite.minimize(self, objective, tape)
        figures = self.measured(labels, outputs, targets)
        self.after_step(labels, outputs)
        return figures

    def targets(self, images: tf.Tensor) -> tf.Tensor | None:
        """What the logits are compared with beside the labels; here nothing."""
        return None

    def forward(self, images: tf.Tensor, training: bool) -> Any:
        """What `objective`, `measured` and `after_step` take; here the logits [b, C]."""
        return self(images, training=training)

    def objective(self, outputs: Any, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
        """A replica's part of the loss."""
        return cross_entropy(outputs, labels)

    def after_step(self, labels: tf.Tensor, outputs: Any) -> None:
        """What follows the update of the weights; here nothing."""

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss and accuracy of evaluation images, for `evaluate` and validation data."""
        batch = self._checked(batch)
        images = in_unit_range(batch["image"])
        return self.measured(batch["label"], self.forward(images, training=False), self.targets(images))

    def augmented(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The images of a batch as they are trained on: [b, H, W, C] floats in [0, 1]."""
        if self.augmentations is None:
            return in_unit_range(batch["image"])
        return self.augmentations(batch["image"], contracts.mapping(batch, "uniforms")["uniforms"])

    def _checked(self, batch: Any, optimizer: Any = None) -> Mapping[str, tf.Tensor]:
        """The batch, as `contracts` asks for it."""
        batch = contracts.mapping(batch, "image label")
        images = batch["image"]
        contracts.check_type("image", images)
        contracts.check_labels(batch["label"])
        if images.shape.rank == 4:  # no features, as of an encoder that is computed once
            *sides, self.channels = images.shape[1:]
            self.image_size = size_of(*sides)
            contracts.require_unit_range(images, optimizer)
        return batch

    def measured(self, labels: tf.Tensor, outputs: Any, targets: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """The metrics, over all images that have a label (not -1), however large their batches are."""
        labelled, labels = labels >= 0, tf.maximum(labels, 0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=outputs)
        self.loss_mean.update_state(losses, sample_weight=labelled)
        self.top1.update_state(labels, outputs, sample_weight=labelled)
        return {metric.name: metric.result() for metric in self.metrics}
