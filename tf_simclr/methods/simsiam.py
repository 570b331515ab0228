"""SimSiam (Chen & He, 2021): predict the other view's projection, which the gradient does not reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Rows, Sizes
from tf_simclr.methods.prediction import Predicting
from tf_simclr.options import DEEPEST, WIDEST, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import prediction
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather, traffic

_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class SimSiam(Predicting):
    """BYOL without the moving average: the stop-gradient alone keeps z from collapsing (Sec. 4.1)."""

    citation: ClassVar[str] = (
        "Chen, He. Exploring Simple Siamese Representation Learning. CVPR 2021, arXiv:2011.10566."
    )
    figures: ClassVar[tuple[str, ...]] = ("simsiam_loss", "projection_std")
    defaults: ClassVar[Mapping[str, Any]] = {  # Sec. 3, Baseline settings
        "num_proj_layers": 3,
        "proj_hidden_dim": 2048,
        "proj_out_dim": 2048,
        "proj_batch_norm": "all_plain",
    }

    predictor_layers: int = option(
        2,
        "layers of the predictor (Sec. 3); 0: none, and all collapses (Table 1)",
        minimum=0,
        maximum=DEEPEST,
    )
    predictor_hidden_dim: int = option(
        512, "width of the predictor's hidden layers (Sec. 3); 0: that of z", minimum=0, maximum=WIDEST
    )

    fix_predictor_rate: bool = option(
        False, "the predictor keeps the peak rate (authors' --fix-pred-lr); with momentum or nesterov only"
    )

    def kept_rate(self, model: Any) -> list[tf.keras.layers.Layer]:
        return [model.state["predictor"]] if self.fix_predictor_rate and self.predictor_layers else []

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        if not self.predictor_layers:
            return {}
        return {
            "predictor": prediction.new_predictor(
                model, image, self.predictor_layers, self.predictor_hidden_dim
            )
        }

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        z, predictions = outputs
        p = unit.unit(predictions)  # [2n, P]
        other = tf.stop_gradient(prediction.other_view(unit.unit(z)))
        loss = -tf.reduce_mean(tf.reduce_sum(p * other, axis=1))  # of both directions (Eq. 1, 4)
        return gather.replica_share(loss), {"simsiam_loss": loss, "projection_std": prediction.channel_std(z)}

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Rows with their gradients, and what training the predictor takes."""
        predictor = prediction.predictor_bytes(dim, self.predictor_layers, self.predictor_hidden_dim)
        return Sizes(
            loss=_FLOAT * 4 * 2 * own * dim,  # z and predictions with gradients
            state=3 * predictor,  # itself, gradient, momentum
            exchanged=traffic.all_reduce(predictor, replicas),
        )
