"""The formats of an export and the packages that they need; known without TensorFlow."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from tf_simclr.errors import UsageError

PACKAGES = {"saved_model": (), "tflite": (), "onnx": ("tf2onnx", "onnx", "onnxruntime")}


def check(formats: Sequence[str]) -> None:
    """Raises UsageError for an unknown format, or one whose package is missing."""
    for name in formats or [""]:
        if name not in PACKAGES:
            raise UsageError(f"--format={name}: choose from {', '.join(PACKAGES)}")
        for package in PACKAGES[name]:
            if importlib.util.find_spec(package) is None:
                raise UsageError(
                    f"--format={name} needs the package {package}: pip install -r requirements-{name}.txt"
                )
