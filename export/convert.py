"""The encoder as TFLite or ONNX, of any batch and image size, compared with the live model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from .parts import Part
from .quiet import quiet
from .signatures import reusable

TOLERANCE = 1e-4
OPSET = 15


@quiet()
def convert(name: str, part: Part, folder: Path) -> Path:
    """Converts the encoder's `serving_default` to `folder/model.{tflite,onnx}` and returns that path."""
    path = folder / f"model.{name}"
    if name == "tflite":
        path.write_bytes(_to_tflite(part))
        return path
    import tf2onnx

    serve = part.signatures["serving_default"]
    spec = [tf.TensorSpec(part.spec.shape, tf.float32, name="images")]
    tf2onnx.convert.from_function(serve, input_signature=spec, opset=OPSET, output_path=str(path))
    return path


def _to_tflite(part: Part) -> bytes:
    root = reusable(part.call, part.spec, part.layers)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(root, folder, signatures=part.signatures)
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"]).convert()


@quiet()
def largest_difference(path: Path, part: Part) -> float:
    """Largest difference from the live encoder, as a fraction of the largest output (at least 1)."""
    converted = _onnx(path) if path.suffix == ".onnx" else _tflite(path)
    live = tf.function(lambda images: part.call(images, False), input_signature=[part.spec])
    worst = 0.0
    for images in part.cases:
        expected = live(tf.constant(images)).numpy()
        found = converted(images)
        if found.shape != expected.shape:
            return float("inf")
        worst = max(worst, float(np.max(np.abs(found - expected)) / max(1.0, np.max(np.abs(expected)))))
    return worst


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["default"], {"images": images})[0]


def _tflite(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    run = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda images: run(images=images)["default"]
