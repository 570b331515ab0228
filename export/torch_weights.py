"""An encoder's weights under the names and in the layout of torchvision's and timm's ResNets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import LinearClassifier, ResNet
from tf_simclr.networks.resnet import BLOCKS_PER_GROUP

from .convert import Run
from .parts import Part

FILE = "model.safetensors"
_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def require_loadable(encoder: Any) -> None:
    """UsageError for an encoder that neither torchvision nor timm builds by these names."""
    if not isinstance(encoder, ResNet):
        raise UsageError("--format=torch: the encoder is none of our ResNets; give tflite or onnx")
    config = encoder.get_config()
    if config["width_multiplier"] != 1 or config["sk_ratio"] or config["se_ratio"]:
        raise UsageError(
            "--format=torch: torchvision and timm have ResNets of width 1 without selective kernels and "
            "squeeze-excitation alone; give tflite or onnx"
        )


def loadable(part: Part) -> bool:
    """Whether the part is a ResNet, or a linear classifier right on one."""
    encoder, *rest = part.layers
    return isinstance(encoder, ResNet) and all(isinstance(layer, LinearClassifier) for layer in rest)


def about(part: Part) -> dict[str, Any]:
    """What export.json says beside: which ResNet loads the file."""
    config = part.layers[0].get_config()
    return {"depth": config["depth"], "stem": config["stem"]}


def write(part: Part, folder: Path) -> Path:
    """Writes the part's weights to `folder/model.safetensors` and returns that path."""
    from safetensors.numpy import save_file

    encoder, *classifier = part.layers
    weights = {
        torch_name(path): _layout(variable.numpy())
        for path, variable in encoder.variables_in_creation_order()
    }
    for layer in classifier:
        kernel, bias = layer.dense.get_weights()
        weights |= {"fc.weight": np.ascontiguousarray(kernel.T), "fc.bias": bias}
    save_file(weights, folder / FILE, metadata={"format": "pt"})
    return folder / FILE


def torch_name(path: str) -> str:
    """group2/block1/shortcut/bn/gamma is layer2.0.downsample.1.weight."""
    *layers, leaf = path.removeprefix("stem/").split("/")
    name = ".".join([*layers, _LEAVES[leaf]]).replace("group", "layer")
    name = name.replace("shortcut.conv.", "downsample.0.").replace("shortcut.bn.", "downsample.1.")
    return re.sub(r"block(\d+)", lambda found: str(int(found[1]) - 1), name)


def _layout(value: np.ndarray) -> np.ndarray:
    """A kernel [h, w, in, out] as [out, in, h, w]."""
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value


def runner(path: Path, part: Part) -> Run:
    """torchvision's ResNet written out, with the file's weights, on images [b, h, w, C].

    It knows the file, the depth and the stem alone. Max pooling pads as TensorFlow's: docs/exports.md has the
    line that makes torchvision's do so.
    """
    from safetensors.numpy import load_file

    net = _Net(load_file(path), **about(part))
    forward = tf.function(net, input_signature=[part.spec])
    return lambda images: forward(tf.constant(images)).numpy()


class _Net:
    """The forward pass of torchvision.models.ResNet (resnet.py, version 0.14) in evaluation mode."""

    def __init__(self, weights: Mapping[str, np.ndarray], depth: int, stem: str) -> None:
        self._weights, self._cifar = weights, stem == "cifar"
        self._blocks = BLOCKS_PER_GROUP[depth]
        self._strided = "conv1" if depth < 50 else "conv2"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(self._conv_bn(images, "conv1", "bn1", 1 if self._cifar else 2))
        if not self._cifar:
            x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        for group, count in enumerate(self._blocks, start=1):
            for block in range(count):
                x = self._block(x, f"layer{group}.{block}.", 2 if group > 1 and block == 0 else 1)
        h = tf.reduce_mean(x, [1, 2])
        if "fc.weight" not in self._weights:
            return h
        return tf.matmul(h, self._weights["fc.weight"], transpose_b=True) + self._weights["fc.bias"]

    def _block(self, x: tf.Tensor, name: str, stride: int) -> tf.Tensor:
        shortcut = x
        if f"{name}downsample.0.weight" in self._weights:
            shortcut = self._conv_bn(x, f"{name}downsample.0", f"{name}downsample.1", stride)
        for number in (1, 2, 3):
            conv = f"conv{number}"
            if f"{name}{conv}.weight" in self._weights:
                x = tf.nn.relu(x) if number > 1 else x
                x = self._conv_bn(x, name + conv, f"{name}bn{number}", stride if conv == self._strided else 1)
        return tf.nn.relu(x + shortcut)

    def _conv_bn(self, x: tf.Tensor, conv: str, bn: str, stride: int) -> tf.Tensor:
        kernel = self._weights[f"{conv}.weight"].transpose(2, 3, 1, 0)  # [out, in, h, w] to [h, w, in, out]
        pad = [kernel.shape[0] // 2] * 2
        x = tf.nn.conv2d(tf.pad(x, [[0, 0], pad, pad, [0, 0]]), kernel, stride, "VALID")
        mean, variance = (self._weights[f"{bn}.running_{name}"] for name in ("mean", "var"))
        return tf.nn.batch_normalization(
            x, mean, variance, self._weights[f"{bn}.bias"], self._weights[f"{bn}.weight"], 1e-5
        )
