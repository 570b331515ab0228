"""Our variables beside those of a checkpoint, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import tensorflow as tf

from tf_simclr.official.weights import Layer, Part, Stored, Weights


class Pair(NamedTuple):
    """Our variable and theirs; None where one side has no such variable."""

    name: str
    ours: tf.Variable | None
    theirs: Stored | None

    @property
    def fits(self) -> bool:
        return (
            self.ours is not None and self.theirs is not None and tuple(self.ours.shape) == self.theirs.shape
        )


def our_variables(parts: Mapping[str, Any]) -> Iterator[tuple[str, tf.Variable]]:
    """(name, variable) of the built parts: encoder/group1/block1/conv1/kernel, ... in creation order."""
    for path, variable in parts["encoder"].variables_in_creation_order():
        yield f"encoder/{path}", variable
    for layer in getattr(parts.get("projection_head"), "dense_layers", ()):
        for kind in ("dense", "bn"):
            for variable in getattr(layer, kind).variables:
                yield f"projection_head/{layer.name}/{kind}/{_leaf(variable)}", variable
    if parts.get("classifier") is not None:
        for variable in parts["classifier"].dense.variables:
            yield f"classifier/dense/{_leaf(variable)}", variable


def match(parts: Mapping[str, Any], weights: Weights) -> list[Pair]:
    """Every variable of the built `parts` and of the same parts of the checkpoint.

    Layers are matched in creation order, kernels with kernels and batch norms with batch norms.
    """
    ours: dict[str, dict[str, dict[str, tf.Variable]]] = {name: {} for name in parts}
    for name, variable in our_variables(parts):
        layer, leaf = name.rsplit("/", 1)
        ours[name.split("/", 1)[0]].setdefault(layer, {})[leaf] = variable
    return [
        pair for name, part in weights.parts().items() for pair in _match_part(name, ours.get(name, {}), part)
    ]


def _match_part(name: str, ours: Mapping[str, dict[str, tf.Variable]], theirs: Part) -> Iterator[Pair]:
    kernels = {path: layer for path, layer in ours.items() if "kernel" in layer}
    norms = {path: layer for path, layer in ours.items() if "kernel" not in layer}
    for kind, our_layers, their_layers in (
        ("kernels", kernels, theirs.kernels),
        ("norms", norms, theirs.norms),
    ):
        for number, (item, layer) in enumerate(zip_longest(our_layers.items(), their_layers)):
            path, variables = item or (f"{name}/{kind}/{number}", {})
            yield from _match_layer(path, variables, layer or {})


def _match_layer(path: str, ours: Mapping[str, tf.Variable], theirs: Layer) -> Iterable[Pair]:
    for leaf in dict.fromkeys([*ours, *theirs]):
        yield Pair(f"{path}/{leaf}", ours.get(leaf), theirs.get(leaf))


def _leaf(variable: tf.Variable) -> str:
    return variable.name.split("/")[-1].split(":")[0]
