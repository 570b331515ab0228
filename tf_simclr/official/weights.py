"""The variables of a checkpoint sorted into layers, whatever their names were."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LEAVES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


class Stored(NamedTuple):
    """A variable in a file: the name to read it by, and its shape."""

    name: str
    shape: tuple[int, ...]


Layer = dict[str, Stored]
"""A layer's variables by their last name, one of `LEAVES`."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Layers in creation order: those with a kernel, and batch norms."""

    kernels: Sequence[Layer] = ()
    norms: Sequence[Layer] = ()

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Part:
        layers = list(layers)
        return cls([x for x in layers if "kernel" in x], [x for x in layers if "kernel" not in x])

    def variables(self) -> list[Stored]:
        return [variable for layer in (*self.kernels, *self.norms) for variable in layer.values()]


@dataclasses.dataclass(frozen=True)
class Weights:
    """A checkpoint's encoder, projection head and classifier; an absent one has no layers.

    `left_out` are the names of all other variables; `averages` says that these are moving averages.
    """

    encoder: Part
    projection_head: Part
    classifier: Part
    left_out: Sequence[str] = ()
    averages: bool = False

    def parts(self) -> dict[str, Part]:
        return {
            "encoder": self.encoder,
            "projection_head": self.projection_head,
            "classifier": self.classifier,
        }
