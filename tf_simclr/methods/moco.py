"""MoCo (He et al., 2020; Chen et al., 2020 and 2021): a query finds its key, of a slowly moving encoder.

As the options stand this is v2. v3 has no queue (--queue_size=0), asks in both directions (--symmetric),
through a predictor (--predictor_hidden_dim=4096), an encoder that ends still (--key_momentum_cosine).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import LONGEST, TEMPERATURES, WIDEST, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import prediction, state
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather, traffic

_MATRIX_COPIES = 4  # of the similarities: two, and their gradients (reckoned)
_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class MoCo(Method):
    """A query's positive is the key of the other view; its negatives are old keys, or the batch's others."""

    citation: ClassVar[str] = (
        "He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR "
        "2020, arXiv:1911.05722. v2: Chen, Fan, Girshick, He, arXiv:2003.04297. v3: Chen, Xie, He, ICCV "
        "2021, arXiv:2104.02057."
    )
    figures: ClassVar[tuple[str, ...]] = (
        "contrastive_loss",
        "contrastive_accuracy",
        "positive_similarity",
        "negative_similarity",
    )
    defaults: ClassVar[Mapping[str, Any]] = {"proj_batch_norm": "none"}  # v2 (authors' code)

    temperature: float = option(
        0.2, "temperature of the similarities (v2: 0.2; v3's ResNet-50: 1)", **TEMPERATURES
    )
    queue_size: int = option(
        65536, "keys of earlier steps that are negatives; 0: the batch's (v3)", minimum=0, maximum=LONGEST
    )
    symmetric: bool = option(False, "view b asks for the key of view a, too (v3)")
    predictor_hidden_dim: int = option(
        0, "hidden width of a predictor on the queries (v3: 4096); 0: none", minimum=0, maximum=WIDEST
    )
    key_momentum: float = option(
        0.999, "share that the key encoder keeps at a step (v3: 0.99)", minimum=0, maximum=1
    )
    key_momentum_cosine: bool = option(False, "raise that share to 1 by a cosine over the training (v3)")

    def check(self, own_images: int, replicas: int = 1) -> None:
        batch = own_images * replicas
        keys = self.encoded_views * batch
        if self.queue_size % keys:
            raise UsageError(
                f"--queue_size={self.queue_size}: must be a multiple of the {keys} keys "
                f"a step, those of {'both views' if self.symmetric else 'one view'} of {batch} images"
            )

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        average = state.Average([model.encoder, model.projection_head], image)
        z = unit.unit(average(image))
        parts: dict[str, Any] = {"key_encoder": average}
        if self.queue_size:
            parts["queue"] = state.Queue(self.queue_size, z.shape[-1], seed=model.seed, dtype=z.dtype)
        if self.predictor_hidden_dim:
            parts["predictor"] = prediction.new_predictor(model, image, 2, self.predictor_hidden_dim)
        return parts

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        predictor = (model.state or {}).get("predictor")
        return [*super().trained(model), *([] if predictor is None else [predictor])]

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> Rows:
        """The key of each query, [n, P] or, symmetric, [2n, P]: keys of b, then of a.

        The key encoder's batch norm is in training mode, as in the authors' code.
        """
        a, b = tf.split(views, 2)
        asked = tf.concat([b, a], axis=0) if self.symmetric else b
        keys = model.state["key_encoder"](asked, training=training)
        return tf.stop_gradient(unit.unit(keys))

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        """h and queries q of view a or, symmetric, of both views."""
        asking = views if self.symmetric else tf.split(views, 2)[0]
        h, q = super().outputs(model, asking, training)
        if self.predictor_hidden_dim:
            q = model.state["predictor"](q, training=training)
        return h, q

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        queries = self._by_direction(unit.unit(outputs))
        contrast = self._to_queue if self.queue_size else self._to_batch
        found = [contrast(model, q, k) for q, k in zip(queries, self._by_direction(targets), strict=True)]
        sums = tf.add_n([_sums(similarities, place, self.temperature) for similarities, place in found])
        images = tf.cast(tf.shape(targets)[0] // self.encoded_views * gather.num_replicas(), sums.dtype)  # N
        loss, *others = tf.unstack(sums / images)
        loss *= 1 if self.queue_size else 2 * self.temperature  # v3, Alg. 1: a direction is 2 tau times L
        means = [loss, *(other / self.encoded_views for other in others)]
        figures = tf.unstack(gather.sum_replicas(tf.stop_gradient(tf.stack(means))))
        return loss, dict(zip(self.figures, figures, strict=True))

    def after_step(self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> None:
        """Moves the key encoder and the queue.

        The authors' code moves the encoder at the start of a step, by the weights that the last one left: it
        makes the same keys.
        """
        model.state["key_encoder"].update(self.momentum_at(model.optimizer.iterations, model.total_steps))
        if self.queue_size:
            for keys in self._by_direction(targets):
                model.state["queue"].push(keys)

    def momentum_at(self, step: int | tf.Tensor, total_steps: int) -> float | tf.Tensor:
        """The share of the average that step `step` asks; v3's code: 1 - (1 - m)(1 + cos(pi t / T)) / 2."""
        if not (self.key_momentum_cosine and total_steps):
            return self.key_momentum
        progress = tf.cast(step, tf.keras.backend.floatx()) / total_steps
        return 1 - (1 - self.key_momentum) * (1 + tf.cos(math.pi * progress)) / 2

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Similarities to the queue or the batch's keys; a second encoder, the queue and the predictor."""
        candidates = self.queue_size + 1 if self.queue_size else images
        keys = _FLOAT * self.encoded_views * images * dim
        predictor = 3 * 2 * dim * self.predictor_hidden_dim  # two kernels, their gradients and momentum
        return Sizes(
            loss=_FLOAT * _MATRIX_COPIES * self.encoded_views * own * candidates + 2 * keys,
            state=weights + _FLOAT * (dim * self.queue_size + predictor),
            exchanged=traffic.all_reduce(keys, replicas),
        )

    @property
    def encoded_views(self) -> int:
        return 2 if self.symmetric else 1

    def _by_direction(self, rows: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(rows, self.encoded_views)

    def _to_queue(self, model: Any, q: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Similarities [n, 1 + K] of queries to their key and to the queue (MoCo Eq. 1, Alg. 1)."""
        positive = tf.reduce_sum(q * k, axis=1, keepdims=True)
        negatives = tf.matmul(q, tf.convert_to_tensor(model.state["queue"].rows), transpose_b=True)
        return tf.concat([positive, negatives], axis=1), tf.zeros(tf.shape(q)[0], tf.int32)

    def _to_batch(self, model: Any, q: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Similarities [n, N] of queries to the other view's keys of all replicas (v3, Alg. 1)."""
        images = tf.shape(q)[0]
        place = tf.range(images) + gather.replica_id() * images
        return tf.matmul(q, gather.gather_replicas(k), transpose_b=True), place


def _sums(similarities: tf.Tensor, place: tf.Tensor, temperature: float) -> tf.Tensor:
    """Over the queries: losses, keys found, similarities to the positive, mean ones to the negatives.

    Args:
        similarities: [n, C].
        place: int32 [n], the column of each query's key.
        temperature: of the loss.
    """
    positive = tf.gather(similarities, place, batch_dims=1)
    losses = tf.reduce_logsumexp(similarities / temperature, axis=1) - positive / temperature
    correct = tf.cast(tf.argmax(similarities, axis=1, output_type=tf.int32) == place, losses.dtype)
    others = tf.cast(tf.shape(similarities)[1] - 1, losses.dtype)
    negative = tf.math.divide_no_nan(tf.reduce_sum(similarities, axis=1) - positive, others)
    return tf.stack([tf.reduce_sum(values) for values in (losses, correct, positive, negative)])
