"""What methods share that predict one projection from another: predictor, pairs, a sign of collapse."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Method, Rows

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr import networks
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather

_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Predicting(Method):
    """A method whose outputs are z and predictions of another z; without a layer these are z itself."""

    predictor_layers: ClassVar[int]

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        return super().trained(model) + ([model.state["predictor"]] if self.predictor_layers else [])

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        h, z = super().outputs(model, views, training)
        return h, (z, model.state["predictor"](z, training=training) if self.predictor_layers else z)


def new_predictor(model: Any, image: tf.Tensor, num_layers: int, hidden_dim: int) -> tf.keras.layers.Layer:
    """q: z to a prediction of another z; no batch norm after its last layer."""
    z = model.projection_head(model.encoder(image))
    predictor = networks.ProjectionHead(
        num_layers=num_layers,
        out_dim=z.shape[-1],
        batch_norm_decay=model.projection_head.batch_norm_decay,
        global_bn=model.projection_head.global_bn,
        hidden_dim=hidden_dim,
        batch_norm="hidden",
        name="predictor",
    )
    predictor(z)
    return predictor


def predictor_bytes(dim: int, num_layers: int, hidden_dim: int) -> int:
    """Of the kernels, next to which vectors are nothing."""
    widths = [dim, *[hidden_dim or dim] * (num_layers - 1), dim]
    return _FLOAT * sum(a * b for a, b in itertools.pairwise(widths)) if num_layers else 0


def other_view(rows: tf.Tensor) -> tf.Tensor:
    """Every row's counterpart: [2n, P], view a first, to view b first."""
    return tf.roll(rows, tf.shape(rows)[0] // 2, axis=0)


def channel_std(z: tf.Tensor) -> tf.Tensor:
    """Standard deviation of z / |z| over the global batch, the mean of its channels (SimSiam Fig. 2).

    1 / sqrt(P) where z [2n, P] points everywhere, 0 where it has collapsed.
    """
    z = unit.unit(tf.stop_gradient(z))
    own = tf.stack([tf.reduce_mean(z, axis=0), tf.reduce_mean(tf.square(z), axis=0)])
    mean, square = tf.unstack(gather.sum_replicas(own) / gather.num_replicas())
    return tf.reduce_mean(tf.sqrt(tf.maximum(square - tf.square(mean), 0.0)))
