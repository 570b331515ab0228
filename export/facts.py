"""What export.json says of a model."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import tensorflow as tf

import tf_simclr
from tf_simclr.evaluation.features import encoder_sha256

from .parts import Models, Part
from .verify import weights_sha256


def facts(part: Part, name: str, models: Models) -> dict[str, Any]:
    """The content of export.json, but for what is known of the written files alone."""
    return {
        "model": name,
        "step": models.step,
        "image_size": models.image_size,
        "channels": models.channels,
        "exif": "apply" if models.upright else "ignore",
        "center_crop_fraction": models.center_crop_fraction or 0.0,
        "resize_first": models.resize_first,
        "representation_dim": models.encoder.output_dim,
        "projection_dim": _projection_dim(models),
        "num_classes": getattr(models.classifier, "num_classes", None),
        "class_names": class_names(part, models) if name == "classifier" else None,
        "layers": list(part.named),
        "top1": models.top1,
        "momentum_encoder": models.momentum,
        "encoder_sha256": encoder_sha256(models.encoder),
        "weights_sha256": weights_sha256([v for layer in part.layers for v in layer.variables]),
        "git_commit": models.git_commit,
        "versions": {
            "tf_simclr": tf_simclr.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "config": models.config,
    }


def class_names(part: Part, models: Models) -> list[str]:
    """One a class, in the order of the logits."""
    return list(models.class_names) or [str(number) for number in range(part.layers[-1].num_classes)]


def _projection_dim(models: Models) -> int | None:
    """Width of z: a head's `out_dim`, but that of h where the head's mode is "none"."""
    if models.projection_head is None:
        return None
    return models.projection_head(tf.zeros([1, models.encoder.output_dim])).shape[-1]
