"""SimCLR (Chen et al., 2020) for TensorFlow and Keras.

Importing this package does not import TensorFlow; its parts do, at first use.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from pathlib import Path
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
    """TensorFlow 2.16 and newer bring Keras 3; the models here are of Keras 2 (`tf_keras`).

    TensorFlow chooses once, when it is imported: where `import tensorflow.keras` is to look stands in its
    `__path__`, which KerasCV goes by even where `tf.keras` itself is still to be loaded.

    Raises:
        ImportError: the choice is Keras 3, or Keras 2 is not installed; one line that says what to do.
    """
    if not _version("keras").startswith("3."):
        return
    if not _version("tf-keras"):
        raise ImportError("tf_simclr needs Keras 2: pip install tf-keras, of TensorFlow's own version")
    chosen = os.environ.setdefault("TF_USE_LEGACY_KERAS", "1") in ("1", "true", "True")
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        chosen = any("tf_keras" in Path(place).parts for place in getattr(tensorflow, "__path__", ()))
    if not chosen:
        raise ImportError(
            "tf_simclr needs Keras 2, and TensorFlow has chosen Keras 3: set TF_USE_LEGACY_KERAS=1 in the "
            "environment and restart Python (or import tf_simclr before tensorflow and keras)"
        )


def _version(package: str) -> str:
    """Of an installed package; empty where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


_require_keras_2()


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])
