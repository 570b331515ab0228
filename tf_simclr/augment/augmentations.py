"""Operations in sequence, the same for every view or a list for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from tf_simclr.augment.pixels import as_float


class Operation(Protocol):
    """One augmentation of a batch of images, its randomness given."""

    @property
    def num_uniforms(self) -> int:
        """How many independent U[0, 1) numbers one view needs."""

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        """Numbers [..., num_uniforms] as factors, each [...]."""

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Images [B, H, W, C], uint8 or float32 in [0, 1], to float32 in [0, 1]."""

    def compiled(self) -> Any:
        """The same call, compiled by XLA; an operation may be without."""


class Augmentations:
    """Several augmentations in sequence, driven by one row of uniform numbers a view.

    Args:
        layers: such as `[ColorDistortion(), GaussianBlur()]`, for every view; an empty list is the identity.
        jit_compile: compile the pixel work with XLA, also where the surrounding train step is not
            compiled. H and W must be static either way.
        per_view: in place of `layers`, a list for each view.
    """

    def __init__(
        self,
        layers: Sequence[Operation] = (),
        jit_compile: bool = True,
        per_view: Sequence[Sequence[Operation]] = (),
    ) -> None:
        self.per_view = tuple(tuple(own) for own in per_view) or (tuple(layers),)
        self.num_uniforms = max(sum(layer.num_uniforms for layer in own) for own in self.per_view)
        self._painters = [
            [(layer, _compiled(layer) if jit_compile else layer) for layer in own] for own in self.per_view
        ]

    @property
    def layers(self) -> tuple[Operation, ...]:
        """The operations of the first view: of every view where they do not differ."""
        return self.per_view[0]

    def plain(self) -> Augmentations:
        """The same, not compiled: for a few images."""
        return Augmentations(jit_compile=False, per_view=self.per_view)

    def require_channels(self, channels: int) -> None:
        """UsageError where an operation is not for images of that many channels."""
        for operation in (one for own in self.per_view for one in own):
            if hasattr(operation, "require_channels"):
                operation.require_channels(channels)

    def __call__(self, images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """Augments images [B, H, W, C], uint8 or float32 in [0, 1], with uniforms [B, num_uniforms].

        Where views differ, B is a multiple of their number, all of view a first.

        Returns:
            float32 images [B, H, W, C] in [0, 1].
        """
        if len(self._painters) == 1:
            return _painted(self._painters[0], images, uniforms)
        parts = zip(
            self._painters,
            tf.split(images, len(self._painters)),
            tf.split(uniforms, len(self._painters)),
            strict=True,
        )
        return tf.concat([_painted(*part) for part in parts], axis=0)


def _compiled(layer: Any) -> Any:
    return layer.compiled() if hasattr(layer, "compiled") else tf.function(layer, jit_compile=True)


def _painted(painters: Sequence[tuple[Operation, Any]], images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    start = 0
    for layer, paint in painters:
        factors = layer.factors_from_uniforms(uniforms[..., start : start + layer.num_uniforms])
        images = paint(images, factors)
        start += layer.num_uniforms
    return as_float(images)
