"""Pretraining as a Keras model: views -> what the method makes of them -> loss -> update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr import options
from tf_simclr.augment import Augmentations
from tf_simclr.image_size import ImageSize, size_of
from tf_simclr.methods.method import Method, Rows
from tf_simclr.models import contracts, finite, micro_batching
from tf_simclr.models.compiling import example_image, exclude_from_decay, keep_rate
from tf_simclr.models.losses import REPLICAS_AGREE, cross_entropy, kernels, labelled_rows, layer_losses
from tf_simclr.models.model import Model
from tf_simclr.networks.heads import LinearClassifier
from tf_simclr.optimizers import kernels_l2
from tf_simclr.replicas.gather import num_replicas, replica_id, replica_share

ONLINE_RATE = 0.1
"""The online classifier learns at this fraction of the optimizer's rate: at the authors' full rate its
loss goes through 31 before it settles. Its gradient never reaches the encoder."""


class Pretraining(Model):
    """Pretrains an encoder by a method; use through `compile` and `fit`.

    A batch is a dict: `views` [N, V, H, W, C], uint8 or float in [0, 1]; optionally `uniforms` [N, V, K]
    float32 in [0, 1), from which the augmentations take their factors (drawn here, from the seed and the
    step, when absent); with an online classifier, `label` [N] integers (-1: unknown).

    Args:
        method: what is minimised, and the number V of views.
        encoder: any Keras model that maps images [b, H, W, C] in [0, 1] to h [b, D]; losses of its layers,
            such as regularisers of kernels, are minimised too (of activities only with one micro-batch).
        projection_head: maps h to z [b, P].
        augmentations: colour distortion and blur, applied to the V * N views in the step; None: none.
        num_classes: of the online classifier on stop_gradient(h) (App. B.6); 0: none.
        seed: of the augmentations when a batch brings no `uniforms`.
        l2: weight of half the squared norm of the kernels, for optimizers without coupled weight decay.
        micro_batches: chunks to encode a replica's images in, see `micro_batching`.
        total_steps: of the training, for methods whose coefficients have a schedule; 0: they stay as given.
        num_images: of the training, for methods that keep something of each; their batches have `index`
            [N] int64 from 0 to `num_images` - 1.
        captions: of the images of the training, as the method's `read_captions` gives them.

    Raises:
        UsageError: an option of the method breaks its rules, or encoder or head are of Keras 3. `compile`,
            `fit` and `evaluate` raise it, too, for what `contracts` asks of encoders and batches.
    """

    def __init__(
        self,
        method: Method,
        encoder: tf.keras.Model,
        projection_head: tf.keras.layers.Layer,
        augmentations: Augmentations | None = None,
        *,
        num_classes: int = 0,
        seed: int = 0,
        l2: float = 0.0,
        micro_batches: int = 1,
        total_steps: int = 0,
        num_images: int = 0,
        captions: Any = None,
    ) -> None:
        super().__init__(name=type(method).__name__.lower())
        self.distribute_reduction_method = REPLICAS_AGREE
        options.check_all(method)
        contracts.require_keras_2("encoder", encoder)
        contracts.require_keras_2("projection_head", projection_head)
        self.method = method
        self.encoder = encoder
        self.projection_head = projection_head
        self.classifier = LinearClassifier(num_classes) if num_classes else None
        self.augmentations = augmentations or Augmentations([])
        self.seed = seed
        self.l2 = l2
        self.micro_batches = micro_batches
        self.total_steps = total_steps
        self.num_images = num_images
        self._captions = lambda: captions  # whose layers Keras would save with the model
        self.state: dict[str, Any] | None = None
        self.views_of: Callable[[Any], Any] = lambda batch: batch  # what makes the views of those without
        self.image_size: int | str = 0  # and channels, of the images that were seen last; 0: none yet
        self.channels: int | None = 0
        self.contrastive_metrics = {  # by the names that checkpoints of SimCLR have always had
            name.removeprefix("contrastive_"): tf.keras.metrics.Mean(name) for name in method.figures
        }
        if len(self.contrastive_metrics) < len(method.figures):
            raise ValueError(f"figures of the same name: {', '.join(method.figures)}")
        if num_classes:
            self.online_loss = tf.keras.metrics.Mean("online_loss")
            self.online_accuracy = tf.keras.metrics.SparseCategoricalAccuracy("online_accuracy")

    def compile(self, optimizer: Any = "sgd", image_size: ImageSize = 32, **options: Any) -> None:
        """As Keras's; vectors and the online classifier are kept from decay and layer adaptation.

        `image_size` is what variables are created for where the encoder does not say.
        """
        image = example_image(self.encoder, image_size)
        self.augmentations.require_channels(image.shape[-1])
        h = contracts.representation(self.encoder, image, pretraining=True)
        self.projection_head(h)
        if self.classifier is not None:
            self.classifier(h)
        if self.state is None and (state := self.method.state(self, image)):
            self.state = state
        optimizer = tf.keras.optimizers.get(optimizer)
        exclude_from_decay(optimizer, self)
        keep_rate(optimizer, self.method.kept_rate(self))
        self.built = True
        super().compile(optimizer=optimizer, **options)
        finite.attach(self)

    @property
    def captions(self) -> Any:
        """What the method keeps of the captions of the training images; None: it has none."""
        return self._captions()

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """What the optimizer moves: Keras's own list would hold the method's state, which follows instead."""
        parts = [*self.method.trained(self), *([self.classifier] if self.classifier is not None else [])]
        return [variable for part in parts for variable in part.trainable_variables]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images [b, H, W, C] in [0, 1] to projections z [b, P]."""
        return self.projection_head(self.encoder(images, training=training), training=training)

    def represent(self, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        """h [V * n, D] of views [V * n, H, W, C], and what the method's loss takes."""
        return self.method.outputs(self, views, training)

    @finite.guarded
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch = self._checked(batch, self.optimizer)
        views = self.augmented_views(batch)  # [V * N, H, W, C], view a first
        targets = self.method.targets(self, views, training=True)
        if self.micro_batches > 1:
            _, outputs = micro_batching.minimize(
                self, views, lambda h, outputs: self._loss(h, outputs, targets, batch)
            )
        else:
            with tf.GradientTape() as tape:
                h, outputs = self.represent(views, training=True)  # [V * N, D], of SimCLR z [V * N, P]
                loss = self._loss(h, outputs, targets, batch)
            finite.minimize(self, loss, tape)
        self.method.after_step(self, outputs, targets, batch)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same figures with batch norm in inference mode, for `evaluate` and validation data.

        Means over batches of several sizes weigh the images. A contrastive loss depends on the number of
        negatives nevertheless: compare figures of batches of one size.
        Batches without `uniforms` are all augmented by the same draws, those of the seed and the last step.
        """
        batch = self._checked(batch)
        views = self.augmented_views(batch)
        targets = self.method.targets(self, views, training=False)
        self._loss(*self.represent(views, training=False), targets, batch)
        return {metric.name: metric.result() for metric in self.metrics}

    def _checked(self, batch: Any, optimizer: Any = None) -> Mapping[str, tf.Tensor]:
        """The batch, as `contracts` asks for it."""
        labelled = self.classifier is not None or self.method.needs_labels
        keys = "views" + " label" * labelled + " index" * self.method.needs_index
        batch = contracts.mapping(self.views_of(batch), keys)
        contracts.check_views(batch["views"], self.method.num_views)
        *sides, self.channels = batch["views"].shape[2:]
        self.image_size = size_of(*sides)
        if labelled:
            contracts.check_labels(batch["label"])
        contracts.require_unit_range(batch["views"], optimizer)
        return batch

    def _loss(self, h: tf.Tensor, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What is minimised; the metrics take note."""
        loss, figures = self.method.loss(self, outputs, targets, batch)
        weight = None if _of_one_size(batch["views"]) else tf.shape(batch["views"])[0]
        for metric in self.contrastive_metrics.values():
            metric.update_state(figures[metric.name], sample_weight=weight)
        parts = self.method.trained(self)
        if self.l2:
            decayed = [variable for part in parts for variable in kernels(part)]
            loss += replica_share(tf.cast(kernels_l2(decayed, self.l2), loss.dtype))
        loss += layer_losses(parts, loss.dtype)
        if self.classifier is not None:
            loss += ONLINE_RATE * self._online_loss(h, batch["label"])
        return loss

    def augmented_views(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The views of a batch, augmented: [V * N, H, W, C] float32 in [0, 1], view a first."""
        uniforms = batch.get("uniforms")
        if uniforms is None:
            uniforms = self._drawn(tf.shape(batch["views"])[0])
        return self.augmentations(_view_a_first(batch["views"]), _view_a_first(uniforms))

    def _drawn(self, images: tf.Tensor) -> tf.Tensor:
        """Uniforms [N, V, K] of this replica's N images, out of those of the global batch."""
        step = tf.cast(self.optimizer.iterations, tf.int64)
        shape = [num_replicas(), images, self.method.num_views, self.augmentations.num_uniforms]
        drawn = tf.random.stateless_uniform(shape, seed=tf.stack([tf.cast(self.seed, tf.int64), step]))
        return tf.gather(drawn, replica_id())

    def _online_loss(self, h: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The online classifier's loss on all views encoded (authors' code), the replica's part of it."""
        logits = self.classifier(tf.stop_gradient(h))  # [V * N, C]
        one_size = _of_one_size(labels)  # then a batch weighs 1 where all have labels
        labels = tf.tile(labels, [tf.shape(h)[0] // tf.shape(labels)[0]])  # -1 where there is none
        labelled = labels >= 0
        rows = labelled_rows(labels, logits.dtype)
        loss = cross_entropy(logits, labels, rows)
        full = tf.cast(tf.size(labels) * num_replicas(), rows.dtype) if one_size else 1.0
        self.online_loss.update_state(loss * num_replicas(), sample_weight=rows / full)
        self.online_accuracy.update_state(tf.maximum(labels, 0), logits, sample_weight=labelled)
        return loss


def _of_one_size(rows: tf.Tensor) -> bool:
    """Whether the graph is for batches of that size alone: without one, any may come."""
    return rows.shape[0] is not None and not tf.executing_eagerly()


def _view_a_first(images: tf.Tensor) -> tf.Tensor:
    """[N, V, ...] to [V * N, ...]: all first views, then all second ones, and so on."""
    return tf.concat([images[:, view] for view in range(images.shape[1])], axis=0)
