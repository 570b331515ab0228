"""Whether a checkpoint of ours fits what is asked for, and if not, what differs and which flags would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.models import LinearClassifier, ProjectionHead, ResNet
from tf_simclr.official.architecture import Architecture
from tf_simclr.official.matching import match, our_variables
from tf_simclr.official.source import OfficialCheckpoint
from tf_simclr.official.weights import Weights

ROWS = 10
PARTS = ("encoder", "projection_head", "classifier")
Shapes = dict[str, list[int]]


def parts_of(model: Any) -> dict[str, Any]:
    """The parts that a model has."""
    return {name: getattr(model, name) for name in PARTS if getattr(model, name, None) is not None}


def require_fit(prefix: str, parts: Mapping[str, Any]) -> None:
    """Compares the built `parts` with the checkpoint, variable by variable; other encoders are let through.

    Raises:
        DoesNotFit: with the flags that would fit, and a table of what differs.
        UsageError: the checkpoint cannot be read.
    """
    if not isinstance(parts.get("encoder"), ResNet):
        return
    source = OfficialCheckpoint(prefix, flag="checkpoint")
    weights = source.weights
    if all(pair.fits for pair in match(parts, weights) if pair.name.split("/")[0] in parts):
        return
    asked = _asked(parts)
    stored = source.architecture(like=asked)
    has, wanted = _clash(stored, asked, parts)
    differs = f"is {has}; you asked for {wanted}" if has else "lacks variables of what you asked for"
    with tf.Graph().as_default():
        rows = _differences(_stored_shapes(stored, weights), _shapes(parts), parts)
    raise DoesNotFit(f"--checkpoint={prefix} {differs}", table(rows))


def table_for(asked: Config) -> Sequence[str]:
    """The table for an architecture that flags ask for; empty where there is no checkpoint to look at."""
    from tf_simclr.runs import checkpoints, loading

    try:
        with tf.Graph().as_default():
            parts = loading.new_parts(asked, 0)
        require_fit(checkpoints.find(asked.checkpoints.checkpoint), parts)
    except UsageError as error:
        return error.details
    return ()


def _asked(parts: Mapping[str, Any]) -> Architecture:
    encoder, head = parts["encoder"].get_config(), parts.get("projection_head")
    heads = {}
    if head is not None:
        heads = {
            "proj_head_mode": head.mode,
            "num_proj_layers": head.num_layers,
            "proj_out_dim": head.out_dim,
        }
    return Architecture(
        resnet_depth=encoder["depth"],
        **{name: encoder[name] for name in ("width_multiplier", "sk_ratio", "se_ratio", "stem")},
        **heads,
        num_classes=getattr(parts.get("classifier"), "num_classes", 0),
    )


def _clash(stored: Architecture, asked: Architecture, parts: Mapping[str, Any]) -> tuple[str, str]:
    """The flags that differ: as the checkpoint has them, and as asked for."""
    has, wanted = stored.flags(), asked.flags()
    compared = [name for name in has if "proj" not in name or "projection_head" in parts]
    if "none" in (stored.proj_head_mode, asked.proj_head_mode):
        compared = [name for name in compared if name not in ("num_proj_layers", "proj_out_dim")]
    elif "linear" in (stored.proj_head_mode, asked.proj_head_mode):
        compared = [name for name in compared if name != "num_proj_layers"]
    if "classifier" in parts:
        has["classes"], wanted["classes"] = stored.num_classes, asked.num_classes
        compared.append("classes")
    names = [name for name in compared if has[name] != wanted[name]]
    return tuple(" ".join(f"--{name}={values[name]}" for name in names) for values in (has, wanted))  # type: ignore[return-value]


def _stored_shapes(stored: Architecture, weights: Weights) -> Shapes:
    """The checkpoint's shapes under our names."""
    encoder = ResNet(
        stored.resnet_depth, stored.width_multiplier, stored.sk_ratio, stored.se_ratio, stored.stem
    )
    head = ProjectionHead(stored.proj_head_mode, stored.num_proj_layers, stored.proj_out_dim)
    h = tf.zeros([1, encoder.output_dim])
    head(h)
    parts: dict[str, Any] = {"encoder": encoder, "projection_head": head}
    if stored.num_classes:
        parts["classifier"] = LinearClassifier(stored.num_classes)
        parts["classifier"](h)
    return {pair.name: list(pair.theirs.shape) for pair in match(parts, weights) if pair.theirs}


def _shapes(parts: Mapping[str, Any]) -> Shapes:
    return {name: variable.shape.as_list() for name, variable in our_variables(parts)}


def _differences(stored: Shapes, asked: Shapes, parts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    names = [name for name in dict.fromkeys([*asked, *stored]) if name.split("/")[0] in parts]
    return [
        (name, str(stored.get(name, "absent")), str(asked.get(name, "absent")))
        for name in names
        if stored.get(name) != asked.get(name)
    ]


def table(rows: Sequence[tuple[str, str, str]], ours: str = "asked for") -> list[str]:
    """Lines for the first rows of (variable, what the checkpoint has, what `ours` has)."""
    shown = [("variable", "in the checkpoint", ours), *rows[:ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return lines + ([f"... and {len(rows) - ROWS} more"] if len(rows) > ROWS else [])
