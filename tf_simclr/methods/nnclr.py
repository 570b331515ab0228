"""NNCLR (Dwibedi et al., 2021): the positive is the nearest of earlier images, not the image itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import LONGEST, TEMPERATURES, WIDEST, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import prediction
    from tf_simclr.methods import state as states
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather, traffic

_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class NNCLR(Method):
    """A view's nearest neighbour in a queue of earlier z is drawn to a prediction from the other view's z.

    Negatives are the predictions of the global batch's other images.
    """

    citation: ClassVar[str] = (
        "Dwibedi, Aytar, Tompson, Sermanet, Zisserman. With a Little Help from My Friends: Nearest-Neighbor "
        "Contrastive Learning of Visual Representations. ICCV 2021, arXiv:2104.14548."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy", "neighbour_similarity")
    defaults: ClassVar[Mapping[str, Any]] = {"num_proj_layers": 3, "proj_out_dim": 256}

    temperature: float = option(0.1, "temperature of the similarities", **TEMPERATURES)
    queue_size: int = option(
        98304,
        "z of earlier steps among which neighbours are sought (the paper's largest and best)",
        minimum=1,
        maximum=LONGEST,
    )
    predictor_hidden_dim: int = option(
        4096, "width of the predictor's hidden layer; 0: that of z", minimum=0, maximum=WIDEST
    )
    contrast_neighbours: bool = option(
        True, "a prediction also tells its neighbour from the other images' (Sec. 3.2; solo-learn: off)"
    )

    def check(self, own_images: int, replicas: int = 1) -> None:
        batch = own_images * replicas
        if self.queue_size % batch:
            raise UsageError(
                f"--queue_size={self.queue_size}: must be a multiple of the {batch} images of a step"
            )

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        z = unit.unit(model.projection_head(model.encoder(image)))
        return {
            "predictor": prediction.new_predictor(model, image, 2, self.predictor_hidden_dim),
            "queue": states.Queue(self.queue_size, z.shape[-1], seed=model.seed, dtype=z.dtype),
        }

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        return [*super().trained(model), model.state["predictor"]]

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        """h, and z with the predictions from it, [2n, P] each."""
        h, z = super().outputs(model, views, training)
        return h, (z, model.state["predictor"](z, training=training))

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        z, p = map(unit.unit, outputs)
        neighbours, similarity = _nearest(z, model.state["queue"].rows)
        a, b = (tf.split(rows, 2) for rows in (neighbours, p))
        both = [self._contrast(a[0], b[1]), self._contrast(a[1], b[0])]  # both orders of the views (Sec. 3.2)
        loss, accuracy = (tf.reduce_mean(tf.stack(parts)) for parts in zip(*both, strict=True))
        figures = (loss, accuracy, tf.reduce_mean(similarity))
        return gather.replica_share(loss), dict(zip(self.figures, figures, strict=True))

    def _contrast(self, neighbours: tf.Tensor, p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean loss of this replica's neighbours of one view and predictions of the other; share found."""
        everyones = gather.gather_replicas(p)  # [N, P]
        losses, found = _cross_entropy(neighbours, everyones, self.temperature)  # L_NNCLR (Sec. 3.2)
        if self.contrast_neighbours:  # the term that makes it symmetric (Sec. 3.2)
            losses += _cross_entropy(p, gather.gather_replicas(neighbours), self.temperature)[0]
        return tf.reduce_mean(losses), tf.reduce_mean(found)

    def after_step(self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> None:
        """The z of view a alone enter the queue, once their neighbours have been sought there (Sec. 3.2)."""
        view_a, _ = tf.split(outputs[0], 2)
        model.state["queue"].push(unit.unit(view_a))

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Similarities to the queue, of which no gradient is kept, and those of the batch with theirs."""
        terms = 2 if self.contrast_neighbours else 1
        batch = 2 * terms * own * images
        predictor = prediction.predictor_bytes(dim, 2, self.predictor_hidden_dim)
        rows = _FLOAT * 2 * images * dim  # gathered: predictions, their gradients, neighbours; z of view a
        return Sizes(
            loss=_FLOAT * (2 * own * self.queue_size + 2 * batch) + (1 + terms) * rows,
            state=_FLOAT * self.queue_size * dim + 3 * predictor,  # itself, gradient, momentum
            exchanged=traffic.all_reduce((1 + terms) * rows + rows // 2 + predictor, replicas),
        )


def _nearest(z: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For unit z [b, P] the nearest of unit rows [Q, P] (Sec. 3.2), stopped, and their cosines [b]."""
    rows = tf.convert_to_tensor(rows)
    similarities = tf.matmul(z, rows, transpose_b=True)
    nearest = tf.gather(rows, tf.argmax(similarities, axis=1))
    return tf.stop_gradient(nearest), tf.reduce_max(similarities, axis=1)


def _cross_entropy(own: tf.Tensor, everyones: tf.Tensor, temperature: float) -> tuple[tf.Tensor, tf.Tensor]:
    """For row i of this replica the loss of finding row i among those of all, and whether it is nearest.

    Args:
        own: unit vectors [n, P].
        everyones: unit vectors [N, P], replica after replica.
        temperature: of their similarities.
    """
    images = tf.shape(own)[0]
    places = tf.range(images) + gather.replica_id() * images
    logits = tf.matmul(own, everyones, transpose_b=True) / temperature
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=places, logits=logits)
    found = tf.argmax(logits, axis=1, output_type=places.dtype) == places
    return losses, tf.cast(found, losses.dtype)
