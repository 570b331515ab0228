"""Warm-up requests, so that TensorFlow Serving has traced and allocated before the first real one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from .parts import Part

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warm_up(folder: Path, part: Part, answers: dict[str, np.ndarray]) -> None:
    """Writes a request a signature into `folder`, where tensorflow-serving-api is installed."""
    if importlib.util.find_spec("tensorflow_serving") is None:
        return
    from tensorflow_serving.apis import prediction_log_pb2

    (folder / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for signature in part.signatures:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = folder.parent.name
            request.model_spec.signature_name = signature
            name, value = _input(signature, part, answers)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


def _input(signature: str, part: Part, answers: dict[str, np.ndarray]) -> tuple[str, Any]:
    if signature == "serving_bytes":
        return "image_bytes", [answers["jpeg"].tobytes()]
    if signature == "serving_uint8":
        return "images", np.round(answers["inputs_0"] * 255).astype(np.uint8)
    return part.argument, answers["inputs_0"]
