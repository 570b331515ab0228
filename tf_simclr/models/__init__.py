"""The Keras models that are trained, and the networks that they are made of."""

from __future__ import annotations

import importlib
from typing import Any

from tf_simclr.models.classifier import Classifier
from tf_simclr.models.distillation import Distillation
from tf_simclr.models.open_set import OpenSet
from tf_simclr.models.pretraining import Pretraining
from tf_simclr.models.simclr import SimCLR
from tf_simclr.networks import BatchNorm, LinearClassifier, ProjectionHead, ResNet, applications

__all__ = [
    "BatchNorm",
    "Classifier",
    "Distillation",
    "LinearClassifier",
    "OpenSet",
    "Pretraining",
    "ProjectionHead",
    "ResNet",
    "SimCLR",
    "applications",
]


def __getattr__(name: str) -> Any:
    """`save_run` is for users of models, and made in `runs`, above them."""
    if name == "save_run":
        return importlib.import_module("tf_simclr.runs.saving").save_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
