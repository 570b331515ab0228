"""What a pretraining method is: the seam between a train step and what is minimised in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

Rows = Any
"""A nest of tensors whose first axis runs over the views of a batch, [V * n, ...], view a first."""


class Sizes(NamedTuple):
    """What a method adds to the sizes of a planned run: bytes of a replica."""

    loss: int = 0
    state: int = 0
    exchanged: int = 0


@dataclasses.dataclass(frozen=True)
class Method:
    """A pretraining method. A subclass in methods/NAME.py is what --method=NAME means.

    Its fields, made by `option`, are its flags. A train step asks it in this order for `targets`, `outputs`,
    `loss` and `after_step`. `model` is always the `models.Pretraining` that trains: `model.encoder`,
    `model.projection_head`, `model.state[...]`, `model.total_steps`, `model.num_images`,
    `model.captions`, `model.optimizer.iterations`.

    Attributes:
        citation: of the paper, for the card of an export.
        num_views: views an image.
        figures: names of the metrics, as `loss` returns them; the first is the loss.
        defaults: the published settings, of flags that commands share.
        needs_labels: whether images of which none has a label are refused.
        labelled_fraction: of the labelled images, that keep their label; class-balanced, by the seed.
        needs_index: whether batches have `index`, int64 [n], where each image stands in its data set.
        needs_captions: whether the model has `captions`, what `read_captions` gives.
        micro_batches: whether `loss` may be differentiated by the outputs of all chunks together.
    """

    citation: ClassVar[str] = ""
    num_views: ClassVar[int] = 2
    figures: ClassVar[Sequence[str]] = ("loss",)
    defaults: ClassVar[Mapping[str, Any]] = {}
    needs_labels: ClassVar[bool] = False
    labelled_fraction = 1.0  # not annotated: a method's own option of this name stands last
    needs_index: ClassVar[bool] = False
    needs_captions: ClassVar[bool] = False
    micro_batches: ClassVar[bool] = True

    @property
    def encoded_views(self) -> int:
        """Views an image that `outputs` encodes; what `targets` encodes keeps no activations."""
        return self.num_views

    def check(self, own_images: int, replicas: int = 1) -> None:
        """UsageError where the options contradict each other, or the images that a replica has a step."""

    def check_data(self, num_images: int) -> None:
        """UsageError where the options contradict the number of training images."""

    def read_captions(self, source: Any) -> Any:
        """What the model keeps of the captions of `source`, the training images, as `model.captions`."""

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        """Trackables beside encoder and head, kept in checkpoints; made once, and built.

        `image` is one that the encoder takes, [1, H, W, 3]. An `Average` of [encoder, projection_head], by
        any name, is the momentum encoder that `python -m export --export_momentum_encoder` exports.
        """
        return {}

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        """The layers that the loss trains, in a fixed order."""
        return [model.encoder, model.projection_head]

    def kept_rate(self, model: Any) -> list[tf.keras.layers.Layer]:
        """Of the trained layers those whose rate keeps its peak when the schedule falls; for SGD only."""
        return []

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> Rows:
        """What a step compares with and no gradient reaches, such as a momentum encoder's projections.

        `views` are this replica's, [V * n, H, W, 3] float32 in [0, 1], view a first.
        """
        return None

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        """h [V * n, D], and what the loss takes; here z [V * n, P]. Both may be of the first views only."""
        h = model.encoder(views, training=training)
        return h, model.projection_head(h, training=training)

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        """A value whose gradient is this replica's part (optimizers sum over replicas), and the figures."""
        raise NotImplementedError

    def after_step(self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> None:
        """Moves the state, once the optimizer has stepped."""

    def between_epochs(self, model: Any, images: Callable[[], tf.data.Dataset], epoch: int) -> None:
        """Before epoch `epoch`; `images` gives the evaluation batches of all training images, by `index`."""

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """For `own` of `images` a step, projections of width `dim`, `weights` bytes of encoder and head."""
        return Sizes()
