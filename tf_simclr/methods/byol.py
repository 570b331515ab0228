"""BYOL (Grill et al., 2020): predict what a moving average of the networks makes of the other view."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Rows, Sizes
from tf_simclr.methods.prediction import Predicting
from tf_simclr.options import DEEPEST, WIDEST, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import prediction
    from tf_simclr.methods import state as states
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather, traffic

_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class BYOL(Predicting):
    """A prediction from z is drawn to the target's z of the image's other view; there are no negatives.

    The target is a moving average of encoder and projection head, which no gradient reaches.
    """

    citation: ClassVar[str] = (
        "Grill, Strub, Altché, Tallec, Richemond, et al. Bootstrap Your Own Latent: A New Approach to "
        "Self-Supervised Learning. NeurIPS 2020, arXiv:2006.07733."
    )
    figures: ClassVar[tuple[str, ...]] = ("byol_loss", "projection_std")
    defaults: ClassVar[Mapping[str, Any]] = {  # Sec. 3.3
        "num_proj_layers": 2,
        "proj_hidden_dim": 4096,
        "proj_out_dim": 256,
        "proj_batch_norm": "hidden",
    }

    base_target_ema: float = option(
        0.996,
        "share of itself that the target keeps at the first step; it rises to 1 along a cosine (Sec. 3.3)",
        minimum=0,
        maximum=1,
    )
    predictor_layers: int = option(
        2,
        "layers of the predictor (Sec. 3.3); 0: none, and all collapses (Table 5b)",
        minimum=0,
        maximum=DEEPEST,
    )
    predictor_hidden_dim: int = option(
        4096, "width of the predictor's hidden layers (Sec. 3.3); 0: that of z", minimum=0, maximum=WIDEST
    )

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        made = {"target": states.Average([model.encoder, model.projection_head], image)}
        if self.predictor_layers:
            made["predictor"] = prediction.new_predictor(
                model, image, self.predictor_layers, self.predictor_hidden_dim
            )
        return made

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        """The target's z [2n, P]; in training by the statistics of the batch (authors' code)."""
        return tf.stop_gradient(model.state["target"](views, training=training))

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        z, predictions = outputs
        p = unit.unit(predictions)  # [2n, P]
        other = prediction.other_view(unit.unit(targets))
        distances = tf.reduce_sum(tf.math.squared_difference(p, other), axis=1)  # 2 - 2 cos (Eq. 2)
        loss = 2 * tf.reduce_mean(distances)  # an image's two directions are added (Sec. 3.1)
        return gather.replica_share(loss), {"byol_loss": loss, "projection_std": prediction.channel_std(z)}

    def after_step(self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]) -> None:
        step = model.optimizer.iterations - 1  # the optimizer has counted this one
        model.state["target"].update(self.target_ema(step, model.total_steps))  # Eq. 1

    def target_ema(self, step: int | tf.Tensor, total_steps: int) -> tf.Tensor:
        """tau of step k out of K: 1 - (1 - tau_base) (1 + cos(pi k / K)) / 2 (Sec. 3.3)."""
        progress = tf.cast(step, tf.float32) / total_steps if total_steps else 0.0
        return 1 - (1 - self.base_target_ema) * (1 + tf.cos(math.pi * progress)) / 2

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Rows with their gradients, the target, and what training the predictor takes."""
        predictor = prediction.predictor_bytes(dim, self.predictor_layers, self.predictor_hidden_dim)
        return Sizes(
            loss=_FLOAT * 5 * 2 * own * dim,  # z, predictions and targets; gradients of the first two
            state=weights + 3 * predictor,  # itself, gradient, momentum
            exchanged=traffic.all_reduce(predictor, replicas),
        )
