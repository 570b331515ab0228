"""SimCLR (Chen et al., 2020): views -> h -> z -> NT-Xent (Sec. 2, Alg. 1)."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr import objectives
    from tf_simclr.replicas import traffic

_MATRIX_COPIES = 4  # of the similarity matrix, by forward and backward pass together (measured)
_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class SimCLR(Method):
    """A view's positive is the image's other view, its negatives all other views of the global batch."""

    citation: ClassVar[str] = (
        "Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual "
        "Representations. ICML 2020, arXiv:2002.05709."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")

    objective: str = option(
        "nt_xent", "nt_xent (Eq. 1), or MODULE:FUNCTION of projections that returns what nt_xent does"
    )
    temperature: float = option(0.1, "temperature of NT-Xent (Table 5)", above=0)
    hidden_norm: bool = option(True, "l2-normalise z (Table 5)")
    loss_block_size: int = option(
        0,
        "rows of the similarity matrix held at a time (256 to 1024 are fast); 0: the whole matrix",
        minimum=0,
        may_change=True,
    )

    def check(self, own_images: int, replicas: int = 1) -> None:
        if self.loss_block_size > own_images:
            raise UsageError(
                f"--loss_block_size={self.loss_block_size} does not fit: a replica has {own_images} images "
                "a step"
            )
        self._objective()

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        found = self._objective()(outputs)
        if not isinstance(found, tuple) or len(found) != len(self.figures):
            raise UsageError(
                f"--objective={self.objective}: must return loss, contrastive accuracy and entropy, as "
                "nt_xent does"
            )
        return found[0], dict(zip(self.figures, found, strict=True))

    def _objective(self) -> Callable[[tf.Tensor], Any]:
        """The objective with those of our options that it takes.

        Raises:
            UsageError: there is no such objective, or it takes none of an option that was set.
        """
        function = objectives.find(self.objective)
        options = {
            "temperature": self.temperature,
            "l2_normalize": self.hidden_norm,
            "block_size": self.loss_block_size or None,
        }
        try:
            taken = inspect.signature(function).parameters
        except (TypeError, ValueError) as error:
            raise UsageError(f"--objective={self.objective}: is no function of projections") from error
        if self.loss_block_size and "block_size" not in taken:
            raise UsageError(
                f"--loss_block_size={self.loss_block_size}: --objective={self.objective} has no blocks"
            )
        options = {name: value for name, value in options.items() if name in taken}
        return lambda projections: function(projections, **options)

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Rows held of the 2n x 2N similarity matrix, z with its gradient.

        Exchanged are z and, back, its gradients, or in blocks the rows' log-sum-exps.
        """
        rows = self.loss_block_size or 2 * own
        z = _FLOAT * 2 * images * dim
        back = _FLOAT * 2 * images if self.loss_block_size else z
        return Sizes(
            loss=_FLOAT * (_MATRIX_COPIES * rows * 2 * images + 4 * 2 * images * dim),
            exchanged=traffic.all_reduce(z + back, replicas),
        )
