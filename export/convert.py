"""A part as TFLite or ONNX, of any batch and image size or of fixed ones."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_simclr.image_size import ImageSize, height_and_width

from .parts import Part

OPSET = 15
AXES = ("batch", "height", "width")
Run = Callable[[np.ndarray], np.ndarray]


def with_shape(part: Part, batch: int, size: ImageSize | None) -> Part:
    """The part with a fixed batch (0: any) and, of images, a fixed height and width (None: any)."""
    sides = height_and_width(size) if size else (None, None)
    shape = [batch or None, *sides[: part.spec.shape.rank - 2], part.spec.shape[-1]]
    cases = [
        np.resize(case, [fixed or free for fixed, free in zip(shape, case.shape, strict=True)])
        for case in part.cases
    ]
    spec = tf.TensorSpec(shape, tf.float32, name=part.spec.name)
    return dataclasses.replace(part, spec=spec, cases=cases)


def convert(name: str, part: Part, folder: Path, calibration: Iterable[np.ndarray] = ()) -> Path:
    """Converts the part's `serving_default` to `folder/model.{tflite,onnx}` and returns that path.

    Args:
        name: one of `formats.CONVERTED`.
        calibration: of tflite_int8: inputs [b, ...] whose activations set the ranges.
    """
    spec = tf.TensorSpec(part.spec.shape, tf.float32, name=part.argument)
    serve = tf.function(part.signatures["serving_default"].python_function, input_signature=[spec])
    if name == "onnx":
        return _to_onnx(serve, spec, folder / "model.onnx")
    path = folder / "model.tflite"
    path.write_bytes(_to_tflite(name, part, serve, calibration))
    return path


def _to_onnx(serve: tf.types.experimental.GenericFunction, spec: tf.TensorSpec, path: Path) -> Path:
    """Free axes are named; the graph that is written passes ONNX's own check."""
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(serve, input_signature=[spec], opset=OPSET)
    axes = AXES if spec.shape.rank == 4 else AXES[:1]
    for value, names in [
        *((i, axes) for i in model.graph.input),
        *((o, AXES[:1]) for o in model.graph.output),
    ]:
        for dimension, axis in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if not dimension.dim_value:
                dimension.dim_param = axis
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def _to_tflite(
    name: str,
    part: Part,
    serve: tf.types.experimental.GenericFunction,
    calibration: Iterable[np.ndarray],
) -> bytes:
    """Inputs and outputs are float32 in all of them; int8 has float kernels where there is no other."""
    root = tf.train.Checkpoint()
    root.variables = [variable for layer in part.layers for variable in layer.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(root, folder, signatures={"serving_default": serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if name != "tflite":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "tflite_float16":
            converter.target_spec.supported_types = [tf.float16]
        if name == "tflite_int8":
            converter.representative_dataset = lambda: (
                ("serving_default", {part.argument: one}) for one in _singly(calibration, part.spec.shape[0])
            )
        return converter.convert()


def _singly(inputs: Iterable[np.ndarray], batch: int | None) -> Iterable[np.ndarray]:
    """One at a time, repeated where the batch is fixed."""
    for several in inputs:
        for one in several:
            yield np.repeat(one[np.newaxis], batch or 1, axis=0)


def runner(path: Path, part: Part) -> Run:
    """What computes `default` of any number of inputs by the file at `path`."""
    run = _onnx(path, part.argument) if path.suffix == ".onnx" else _tflite(path, part.argument)
    batch = part.spec.shape[0]
    return run if batch is None else lambda inputs: _in_batches(run, inputs, batch)


def _in_batches(run: Run, inputs: np.ndarray, batch: int) -> np.ndarray:
    """The last one is filled up."""
    count = len(inputs)
    filled = np.resize(inputs, [-(-count // batch) * batch, *inputs.shape[1:]])
    return np.concatenate([run(part) for part in np.split(filled, len(filled) // batch)])[:count]


def _onnx(path: Path, argument: str) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["default"], {argument: inputs})[0]


def _tflite(path: Path, argument: str) -> Run:
    run = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda inputs: run(**{argument: inputs})["default"]
