"""The formats of an export and the packages that they need; known without TensorFlow."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from tf_simclr.errors import UsageError

PACKAGES = {
    "saved_model": (),
    "hub": (),
    "tflite": (),
    "tflite_float16": (),
    "tflite_int8": (),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "torch": ("safetensors",),
}
GRAPHS = ("saved_model", "hub")
CONVERTED = ("tflite", "tflite_float16", "tflite_int8", "onnx")
ROUNDED = ("tflite_float16", "tflite_int8")
"""Those whose answers are not the live model's to the rounding of floats: the drop is measured."""


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
