"""TF2 checkpoints and SavedModels: variables found by the attributes that lead to them.

The object graph in the file is followed, not the keys: a SavedModel of the authors' keeps a variable under
the shortest path to it, `trainable_variables_list/17`. Nothing in the file is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tf_simclr.errors import UsageError
from tf_simclr.official.weights import LEAVES, Layer, Part, Stored, Weights

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_LEFT_OUT = re.compile(
    rf"\.OPTIMIZER_SLOT|(^|/)_?optimizer/|(^|/)(global_step|save_counter|total|count|{KEY})(/|$)"
)


class _Names(NamedTuple):
    """The attributes of a model that hold its parts."""

    encoder: str
    projection_head: str
    classifier: str


OFFICIAL = _Names("resnet_model", "_projection_head", "supervised_head")
OURS = _Names("encoder", "projection_head", "classifier")

# Attributes that hold layers, in creation order where one object has several.
_OFFICIAL_ORDER = (
    "initial_conv_relu_max_pool block_groups "
    "shortcut_layers projection_layers conv2d_bn_layers conv_relu_dropblock_layers se_layer "
    "conv2d_fixed_padding batch_norm_relu conv2d_0 batch_norm_relu_1 conv2d_1 se_reduce se_expand "
    "linear_layers linear_layer dense bn_relu conv2d bn layers"
).split()
_OUR_ORDER = "groups parts dense_layers dense bn".split()
_RANK = {name: rank for rank, name in enumerate((*LEAVES, *dict.fromkeys([*_OUR_ORDER, *_OFFICIAL_ORDER])))}


def sort(graph: bytes, shapes: Mapping[str, Sequence[int]]) -> Weights:
    """Sorts the variables of an object-based file into layers.

    Args:
        graph: the file's serialised object graph, stored under `KEY`.
        shapes: of everything in the file, by key.

    Raises:
        UsageError: no model of the authors' or ours in it, or a variable that nothing is known about.
    """
    nodes = TrackableObjectGraph.FromString(graph).nodes
    children = [{child.local_name: child.node_id for child in node.children} for node in nodes]
    keys = [next((a.checkpoint_key for a in node.attributes), "") for node in nodes]
    names, model = _find_model(children)
    encoder, head, classifier = parts = [
        Part.of(_layers(children[model].get(name), children, keys, shapes))
        if name in children[model]
        else Part()
        for name in names
    ]
    used = {variable.name for part in parts for variable in part.variables()}
    left_out = sorted(shapes.keys() - used - {KEY})
    for name in left_out:
        if not _LEFT_OUT.search(name):
            raise UsageError(f"variable {name} {list(shapes[name])} is unknown: this is no SimCLR checkpoint")
    return Weights(encoder, head, classifier, left_out=left_out)


def _find_model(children: Sequence[Mapping[str, int]]) -> tuple[_Names, int]:
    for node, attributes in enumerate(children):  # breadth first, as the file has them
        if OFFICIAL.encoder in attributes:
            return OFFICIAL, node
        if OURS.encoder in attributes and "groups" in children[attributes[OURS.encoder]]:
            return OURS, node
    raise UsageError("no model in it that has a `resnet_model` (the authors') or an `encoder` (ours)")


def _layers(
    root: int | None,
    children: Sequence[Mapping[str, int]],
    keys: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
) -> list[Layer]:
    """The layers below a node, in creation order; each once, however many paths lead to it."""
    seen: set[int] = set()

    def visit(node: int) -> Iterator[Layer]:
        seen.add(node)
        below = children[node]
        leaves = {name: keys[below[name]] for name in LEAVES if name in below and keys[below[name]] in shapes}
        if leaves:
            yield {name: Stored(key, tuple(shapes[key])) for name, key in leaves.items()}
            return
        for name in sorted((n for n in below if n.isdigit() or n in _RANK), key=_rank):
            if below[name] not in seen:
                yield from visit(below[name])

    return list(visit(root)) if root is not None else []


def _rank(name: str) -> int:
    return int(name) if name.isdigit() else _RANK[name]
