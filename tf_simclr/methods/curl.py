"""CURL (Laskin, Srinivas, Abbeel, 2020): a stack of frames finds its key by a learnt bilinear product."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import state
    from tf_simclr.objectives import info_nce
    from tf_simclr.replicas import traffic

_FLOAT = 4  # bytes
_MATRIX_COPIES = 4  # of the similarities: two, and their gradients (reckoned)


@dataclasses.dataclass(frozen=True)
class CURL(Method):
    """Query q of view a, key k of view b by a moving average; logits q' W k (Sec. 4).

    The authors' code takes each row's maximum off the logits, as the log-sum-exp here does: it changes
    neither loss nor gradient.
    """

    citation: ClassVar[str] = (
        "Laskin, Srinivas, Abbeel. CURL: Contrastive Unsupervised Representations for Reinforcement "
        "Learning. ICML 2020, arXiv:2004.04136."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")
    defaults: ClassVar[Mapping[str, Any]] = {  # train.py, curl_sac.py of the authors' code
        "encoder": "tf_simclr.networks:pixels",
        "proj_head_mode": "none",  # the encoder ends in the 50 numbers that are compared
        "crop_side": 0.84,
        "use_flip": False,
        "color_jitter_strength": 0.0,
        "use_blur": False,
        "image_size": 84,
        "center_crop_fraction": 0.84,
        "train_batch_size": 128,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "learning_rate_scaling": "none",
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
    }

    encoder_tau: float = option(
        0.05, "share of the weights that the key encoder takes over (authors' code)", above=0, maximum=1
    )
    key_update_steps: int = option(2, "steps between these updates (authors' code)", minimum=1)

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        average = state.Average([model.encoder, model.projection_head], image)
        z = average(image)
        bilinear = tf.keras.layers.Dense(
            z.shape[-1],
            use_bias=False,
            kernel_initializer=tf.keras.initializers.RandomUniform(0.0, 1.0),  # torch.rand (authors' code)
            dtype=z.dtype,
            name="bilinear",
        )
        bilinear.build(z.shape)
        return {"key_encoder": average, "bilinear": bilinear}

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        return [*super().trained(model), *([model.state["bilinear"]] if model.state else [])]

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> Rows:
        """The keys of view b: [n, P]."""
        return tf.stop_gradient(model.state["key_encoder"](tf.split(views, 2)[1], training=training))

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, Rows]:
        """h and q' W of view a: [n, P]."""
        h, q = super().outputs(model, tf.split(views, 2)[0], training)
        return h, model.state["bilinear"](q)

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        """Cross entropy of a query's own key among those of the batch; no temperature (Sec. 4)."""
        rows = tf.concat([outputs, tf.cast(targets, outputs.dtype)], axis=0)
        found = info_nce.info_nce(rows, 1.0, l2_normalize=False)
        return found.loss, dict(zip(self.figures, found, strict=True))

    def after_step(self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> None:
        """Moves the key encoder after every `key_update_steps` steps.

        The authors' code moves it at the start of a step, by the weights that the last one left.
        """
        due = tf.equal(model.optimizer.iterations % self.key_update_steps, 0)
        model.state["key_encoder"].update(tf.where(due, 1 - self.encoder_tau, 1.0))

    @property
    def encoded_views(self) -> int:
        return 1

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Similarities of the queries to the batch's keys, W with gradient and moments, a second encoder."""
        rows = _FLOAT * 2 * images * dim
        bilinear = _FLOAT * dim * dim
        return Sizes(
            loss=_FLOAT * _MATRIX_COPIES * own * images + 2 * rows,
            state=weights + 4 * bilinear,
            exchanged=traffic.all_reduce(2 * rows + bilinear, replicas),
        )
