"""Encoder, projection head and classifier of a `Config`, built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.image_size import height_and_width
from tf_simclr.models import LinearClassifier
from tf_simclr.runs import build


def new_parts(config: Config, num_classes: int) -> dict[str, tf.keras.layers.Layer]:
    """The encoder, projection head and (for num_classes > 0) classifier of a config, with variables."""
    encoder, head = build.encoder(config), build.projection_head(config)
    h = encoder(tf.zeros([1, *height_and_width(config.data.image_size), config.data.channels]))
    head(h)
    parts: dict[str, Any] = {"encoder": encoder, "projection_head": head}
    if num_classes:
        parts["classifier"] = LinearClassifier(num_classes)
        layer = config.labels.ft_proj_selector
        if layer > len(head.dense_layers):
            raise UsageError(
                f"--ft_proj_selector={layer}: --proj_head_mode={config.head.proj_head_mode} and "
                f"--num_proj_layers={config.head.num_proj_layers} make {len(head.dense_layers)} layers"
            )
        parts["classifier"](head.layer_outputs(h)[layer] if layer else h)
    return parts


def variables_by_path(parts: Mapping[str, Any]) -> dict[str, tf.Variable]:
    """The variables of the parts by the paths that a checkpoint gives them."""
    return {path: variable for name, part in parts.items() for path, variable in _below(name, part)}


def _below(name: str, part: Any) -> Iterator[tuple[str, tf.Variable]]:
    """Breadth first, which is to say by the shortest path."""
    paths, queue = {id(part): name}, [part]
    for node in queue:
        for attribute, child in tf.train.TrackableView(node).children(node).items():
            if id(child) in paths:
                continue
            paths[id(child)] = f"{paths[id(node)]}/{attribute.replace('.', '..').replace('/', '.S')}"
            queue.append(child)
            if isinstance(child, tf.Variable):
                yield paths[id(child)], child
