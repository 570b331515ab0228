"""Barlow Twins (Zbontar et al., 2021): the cross-correlation of two views' features becomes the identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.replicas import gather, traffic

EPSILON = 1e-5
"""Added to the variance of a feature, as batch norm does (authors' code): one that is constant has none."""

_FLOAT = 4  # bytes
_MATRIX_COPIES = 5  # of the cross-correlation matrix, by forward and backward pass together (measured)


@dataclasses.dataclass(frozen=True)
class BarlowTwins(Method):
    """A feature agrees with itself in the other view and with no other feature; there are no negatives."""

    citation: ClassVar[str] = (
        "Zbontar, Jing, Misra, LeCun, Deny. Barlow Twins: Self-Supervised Learning via Redundancy Reduction. "
        "ICML 2021, arXiv:2103.03230."
    )
    figures: ClassVar[tuple[str, ...]] = ("barlow_loss", "on_diagonal", "off_diagonal")
    defaults: ClassVar[Mapping[str, Any]] = {  # Sec. 2.2
        "num_proj_layers": 3,
        "proj_hidden_dim": 8192,
        "proj_out_dim": 8192,
        "proj_batch_norm": "hidden",
    }

    lambd: float = option(
        0.0051, "weight of what features share (authors' code; 0.005 in Sec. 2.2)", minimum=0, maximum=1e6
    )
    scale_loss: float = option(
        1.0,
        "factor of the gradient: under LARS the rate of biases and batch norm alone, beside the kernels'",
        minimum=1e-6,
        maximum=1e6,
    )

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        a, b = tf.split(gather.gather_views(_wide(outputs)), 2)  # [N, P] of all replicas
        correlation = tf.matmul(_standardized(a), _standardized(b), transpose_a=True)  # Eq. 2: [P, P]
        correlation /= tf.cast(tf.shape(a)[0], a.dtype)
        diagonal = tf.linalg.diag_part(correlation)
        on = tf.reduce_sum(tf.square(diagonal - 1))  # invariance term (Eq. 1)
        rest = tf.linalg.set_diag(correlation, tf.zeros_like(diagonal))
        off = tf.reduce_sum(tf.square(rest))  # redundancy reduction term
        loss = on + self.lambd * off
        figures = {"barlow_loss": loss, "on_diagonal": on, "off_diagonal": off}
        return gather.replica_share(self.scale_loss * loss), figures

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """The matrix, and z of all replicas with its standardised form and gradients; z is exchanged."""
        z = _FLOAT * 2 * images * dim
        return Sizes(
            loss=_FLOAT * _MATRIX_COPIES * dim * dim + 4 * z,
            exchanged=traffic.all_reduce(2 * z, replicas),  # and its gradient
        )


def _wide(z: tf.Tensor) -> tf.Tensor:
    return z if z.dtype == tf.float64 else tf.cast(z, tf.float32)


def _standardized(z: tf.Tensor) -> tf.Tensor:
    """Mean 0 and variance 1 (biased) of every feature over the batch: batch norm without parameters."""
    mean, variance = tf.nn.moments(z, axes=[0])
    return (z - mean) * tf.math.rsqrt(variance + EPSILON)
