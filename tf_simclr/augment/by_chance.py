"""What operations share that change an image with some probability."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.augment.pixels import as_float, per_image
from tf_simclr.errors import UsageError

Factors = dict[str, tf.Tensor]


class ByChance:
    """An operation that changes an image with some probability; one not drawn passes bit for bit.

    A subclass says how an image is `changed`, and what it draws for that.

    Args:
        probability: of an image to be changed.

    Raises:
        UsageError: it is outside [0, 1].
    """

    own_uniforms = 0
    """How many U[0, 1) numbers `own_factors` takes."""

    def __init__(self, probability: float = 1.0) -> None:
        require_between("probability", probability, 0.0, 1.0)
        self.probability = float(probability)

    @property
    def num_uniforms(self) -> int:
        """How many independent U[0, 1) numbers one view needs."""
        return 1 + self.own_uniforms

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> Factors:
        """Turns U[0, 1) numbers [..., num_uniforms] into `drawn` (bool) and own factors, each [...]."""
        return {"drawn": uniforms[..., 0] < self.probability, **self.own_factors(uniforms[..., 1:])}

    def own_factors(self, uniforms: tf.Tensor) -> Factors:
        """What `changed` needs of numbers [..., own_uniforms], each [...]."""
        return {}

    def changed(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        """Every one of the images [B, H, W, 3], float32 in [0, 1], changed."""
        raise NotImplementedError

    def __call__(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        """Changes images [B, H, W, 3], uint8 or float32 in [0, 1], H and W static, to float32 in [0, 1]."""
        images = as_float(images)
        return tf.where(per_image(factors["drawn"]), self.changed(images, factors), images)

    def compiled(self) -> Callable[..., tf.Tensor]:
        """The same call, compiled by XLA."""
        return tf.function(self.__call__, jit_compile=True)


class NotCompiled(ByChance):
    """One whose pixel work is slower by XLA on a CPU than without; it may be part of a compiled step."""

    def compiled(self) -> Callable[..., tf.Tensor]:
        """The same call in a graph."""
        return tf.function(self.__call__)


def require_between(name: str, value: float, low: float, high: float) -> None:
    """UsageError unless low <= value <= high."""
    if not low <= value <= high:
        raise UsageError(f"--augmentations: {name}={value}: give a number from {low:g} to {high:g}")
