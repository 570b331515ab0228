"""Writes files as the authors' code does, from the variables of our models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.models import LinearClassifier, ProjectionHead, ResNet
from tf_simclr.official.matching import our_variables

Parts = dict[str, Any]


def random_parts(
    encoder: Mapping[str, Any], head: Mapping[str, Any] | None = None, num_classes: int = 0, seed: int = 0
) -> Parts:
    """A model whose variables are all random: also gammas, offsets and moving statistics."""
    rng = np.random.default_rng(seed)
    parts: Parts = {"encoder": ResNet(**encoder)}
    h = tf.zeros([1, parts["encoder"].output_dim])
    if head is not None:
        parts["projection_head"] = ProjectionHead(**head)
        parts["projection_head"](h)
    if num_classes:
        parts["classifier"] = LinearClassifier(num_classes)
        parts["classifier"](h)
    for name, variable in our_variables(parts):
        positive = name.endswith(("gamma", "moving_variance"))
        fan_in = np.prod(variable.shape[:-1]) or 1
        values = rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(size=variable.shape)
        variable.assign(values if positive else values / np.sqrt(fan_in))
    return parts


def outputs(parts: Parts, images: np.ndarray) -> dict[str, np.ndarray]:
    h = parts["encoder"](images)
    found = {"representation": h.numpy()}
    for name in ("projection_head", "classifier"):
        if parts.get(name) is not None:
            found[name] = parts[name](h).numpy()
    return found


def tf1_names(parts: Parts, prefix: str = "") -> dict[str, tf.Variable]:
    """The variables under the TF1 names: layers of a kind are numbered as they are created."""
    named: dict[str, tf.Variable] = {}
    numbers: dict[str, dict[str, str]] = {"conv2d": {}, "batch_normalization": {}}
    pairs = list(our_variables(parts))
    convolutions = {name.rsplit("/", 1)[0] for name, _ in pairs if name.endswith("kernel")}
    for name, variable in pairs:
        layer, leaf = name.rsplit("/", 1)
        kind = "conv2d" if layer in convolutions else "batch_normalization"
        if name.startswith("encoder/"):
            seen = numbers[kind]
            numbered = seen.setdefault(layer, f"{kind}_{len(seen)}" if seen else kind)
            named[f"{prefix}base_model/{numbered}/{leaf}"] = variable
        elif name.startswith("classifier/"):
            named[f"{prefix}head_supervised/linear_layer/dense/{leaf}"] = variable
        else:
            number = int(layer.split("/")[1].removeprefix("layer")) - 1
            letters = "l" if parts["projection_head"].mode == "linear" else "nl"
            kind = "dense" if leaf == "kernel" else kind
            named[f"{prefix}head_contrastive/{letters}_{number}/{kind}/{leaf}"] = variable
    return named


def write_tf1(prefix: Path, values: Mapping[str, Any], step: int | None = 1234) -> str:
    """A name-based checkpoint, with slots and the step as theirs have."""
    tensors = {name: np.asarray(value) for name, value in values.items()}
    slot = next(name for name in tensors if name.endswith("conv2d/kernel"))
    tensors[f"{slot}/Momentum"] = np.zeros(8, np.float32)
    if step is not None:
        tensors["global_step"] = np.int64(step)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    return str(prefix)


class Node(tf.keras.layers.Layer):
    """An object of their TF2 model: nothing but attributes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


def tf2_model(parts: Parts) -> tf.keras.Model:
    """Our layers under the attributes of their TF2 model; main layers before the shortcut, as in theirs."""
    stem, *groups = parts["encoder"].groups
    convolutions = [Node(conv2d=layer) for layer in stem.parts[::2]]
    norms = [Node(bn=layer) for layer in stem.parts[1::2]]
    first = [node for pair in zip(convolutions, norms, strict=True) for node in pair]
    first.insert(len(first) - 1, Node())  # their IdentityLayer
    resnet = Node(
        initial_conv_relu_max_pool=first,
        block_groups=[Node(layers=[_block(block) for block in group.parts]) for group in groups],
    )
    model = tf.keras.Model()
    model.resnet_model = resnet
    head = parts.get("projection_head")
    layers = (
        [Node(dense=x.dense, bn_relu=Node(bn=x.bn)) for x in head.dense_layers] if head is not None else []
    )
    model._projection_head = Node(linear_layers=layers)
    if "classifier" in parts:
        model.supervised_head = Node(linear_layer=Node(dense=parts["classifier"].dense))
    return model


def _block(block: tf.keras.layers.Layer) -> Node:
    bottleneck = block.expansion == 4
    main, attributes = [], {}
    for layer in block.residual:
        if layer.name == "sk":
            main.append(
                Node(
                    conv2d_fixed_padding=Node(conv2d=layer.streams),
                    batch_norm_relu=Node(bn=layer.streams_bn),
                    conv2d_0=layer.reduce,
                    batch_norm_relu_1=Node(bn=layer.reduce_bn),
                    conv2d_1=layer.mix,
                )
            )
        elif layer.name == "se":
            excitation = Node(se_reduce=layer.reduce, se_expand=layer.expand)
            if bottleneck:
                main.append(excitation)
            else:
                attributes["se_layer"] = excitation
        elif layer.name.startswith("conv"):
            main.append(Node(conv2d=layer))
        elif layer.name.startswith("bn"):
            main.append(Node(bn=layer))
    shortcut = []
    if block.shortcut is not None:
        shortcut = [Node(), Node(conv2d=block.shortcut.conv), Node(bn=block.shortcut.bn)]
    names = (
        ("conv_relu_dropblock_layers", "projection_layers")
        if bottleneck
        else ("conv2d_bn_layers", "shortcut_layers")
    )
    return Node(**{names[0]: main, names[1]: shortcut}, **attributes)


def write_tf2(prefix: Path, parts: Parts, step: int = 77) -> str:
    """As their training saves: model, optimizer slots, global_step."""
    model = tf2_model(parts)
    optimizer = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    kernel = parts["encoder"].trainable_variables[0]
    optimizer.apply_gradients([(tf.zeros_like(kernel), kernel)])
    checkpoint = tf.train.Checkpoint(
        model=model, global_step=tf.Variable(step, dtype=tf.int64), optimizer=optimizer
    )
    return checkpoint.write(str(prefix))


def write_saved_model(folder: Path, parts: Parts) -> str:
    """As they export: a module with `model`, a list of trainable variables, and an argument `trainable`."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = tf2_model(parts)
            self.trainable_variables_list = [v for part in parts.values() for v in part.trainable_variables]

        @tf.function(autograph=False)
        def __call__(self, inputs: tf.Tensor, trainable: bool) -> dict[str, tf.Tensor]:
            kernel = parts["encoder"].variables[0]
            return {"final_avg_pool": tf.reduce_sum(inputs, [1, 2]) * tf.reduce_sum(kernel)}

    module = Module()
    images = tf.TensorSpec([None, None, None, 3], tf.float32)
    for trainable in (True, False):
        module.__call__.get_concrete_function(images, trainable=trainable)
    tf.saved_model.save(module, str(folder))
    return str(folder)
