"""SimCLR (Chen et al., 2020): views -> h -> z -> NT-Xent (Sec. 2, Alg. 1)."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from etils import epy

from tf_simclr import lookup
from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import TEMPERATURES, option

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr import objectives
    from tf_simclr.replicas import traffic

_COPIES = {  # of a 2n x 2N matrix, that forward and backward pass hold: all negatives, semi-hard ones
    "nt_xent": (4.0, 4.0),  # measured at 16,384 images; the others beside it at 4,096 (benchmarks.memory)
    "nt_logistic": (4.0, 5.6),
    "margin_triplet": (4.0, 5.2),
    "triplet": (8.0, 12.0),
    "max_margin": (13.6, 13.6),
    "info_nce": (1.4, 1.4),
    "n_pair": (1.4, 1.4),
}
_FLOAT = 4  # bytes
_FLAGS = {  # arguments that objectives may take, and the options that they are
    "temperature": "temperature",
    "l2_normalize": "hidden_norm",
    "negatives": "negatives",
    "block_size": "loss_block_size",
}


@dataclasses.dataclass(frozen=True)
class SimCLR(Method):
    """A view's positive is the image's other view, its negatives are of the global batch's other images."""

    citation: ClassVar[str] = (
        "Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual "
        "Representations. ICML 2020, arXiv:2002.05709."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")

    objective: str = option(
        "nt_xent",
        "nt_xent (Eq. 1), nt_logistic, margin_triplet (Table 2), info_nce, n_pair, triplet, max_margin, or "
        "MODULE:FUNCTION of projections that returns what nt_xent does; with (key=value, ...) behind it",
    )
    temperature: float = option(
        0.1, "temperature of the similarities (Table 5), or of the reported entropy alone", **TEMPERATURES
    )
    negatives: str = option(
        "all",
        "negatives of nt_logistic, margin_triplet and triplet (Table 4)",
        choices=["all", "semi_hard"],
    )
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
        objective = self._objective()
        if getattr(objective.func, "__module__", "").startswith(objectives.__name__):
            _require_arguments(self.objective, objective)

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

    def _objective(self) -> functools.partial[Any]:
        """The objective with the arguments behind its name, and those of our options that it takes.

        Raises:
            UsageError: there is no such objective, it takes none of an option that was set, or not these
                arguments.
        """
        name, arguments = lookup.parse("objective", self.objective)
        function = objectives.find(name)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise UsageError(f"--objective={self.objective}: is no function of projections") from error
        options = {argument: getattr(self, flag) for argument, flag in _FLAGS.items()}
        if self.loss_block_size and "block_size" not in signature.parameters:
            raise UsageError(
                f"--loss_block_size={self.loss_block_size}: --objective={self.objective} has no blocks"
            )
        if self.negatives != "all" and "negatives" not in signature.parameters:
            raise UsageError(f"--negatives={self.negatives}: --objective={self.objective} has no such choice")
        if flags := arguments.keys() & _FLAGS:
            raise UsageError(f"--objective={self.objective}: {min(flags)} is the flag --{_FLAGS[min(flags)]}")
        options["block_size"] = options["block_size"] or None
        options = {key: value for key, value in options.items() if key in signature.parameters} | arguments
        try:
            signature.bind(None, **options)
        except TypeError as error:
            raise UsageError(f"--objective={self.objective}: {error}") from error
        return functools.partial(function, **options)

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Rows held of the 2n x 2N similarity matrix, z with its gradient; a user's objective as NT-Xent.

        Exchanged are z and, back, its gradients, or in blocks the rows' log-sum-exps.
        """
        rows = self.loss_block_size or 2 * own
        name, _ = lookup.parse("objective", self.objective)
        copies = _COPIES.get(name, _COPIES["nt_xent"])[self.negatives == "semi_hard"]
        z = _FLOAT * 2 * images * dim
        back = _FLOAT * 2 * images if self.loss_block_size else z
        return Sizes(
            loss=int(_FLOAT * (copies * rows * 2 * images + 4 * 2 * images * dim)),
            exchanged=traffic.all_reduce(z + back, replicas),
        )


def _require_arguments(name: str, objective: Callable[[tf.Tensor], Any]) -> None:
    """UsageError where an objective refuses its arguments, before anything runs."""
    with tf.Graph().as_default():
        try:
            objective(tf.zeros([4, 2]))
        except (TypeError, ValueError) as error:
            line = " ".join(str(error).split())[:200]
            raise UsageError(f"--objective={name}: {line}") from error
