"""SimCLR (Chen et al., 2020) for TensorFlow and Keras.

Importing this package does not import TensorFlow; its parts do, at first use.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from types import ModuleType

__version__ = "0.1.0"

_PARTS = (
    "augment",
    "data",
    "evaluation",
    "models",
    "networks",
    "objectives",
    "optimizers",
    "reports",
    "runs",
    "training",
)


def _require_keras_2() -> None:
    """TensorFlow 2.16 and newer bring Keras 3; the models here are of Keras 2 (`tf_keras`)."""
    try:
        if not importlib.metadata.version("keras").startswith("3."):
            return
    except importlib.metadata.PackageNotFoundError:
        return
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and "tf_keras" not in getattr(tensorflow.keras, "__name__", ""):
        raise ImportError(
            "tf_simclr needs Keras 2: set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported "
            "(or import tf_simclr first), with tf-keras installed."
        )


_require_keras_2()


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])
