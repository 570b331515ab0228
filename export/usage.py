"""How a model of each format is run: the code of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAVED_MODEL = """```python
import tensorflow as tf

model = tf.saved_model.load(PATH)
outputs = model(inputs)                  # inference
outputs = model(inputs, training=True)   # batch statistics; moves the moving ones
model.trainable_variables                # to fine-tune
```

`python -m export --verify=PATH` compares this folder with the answers of the model that was exported."""

_TFLITE = """```python
import tensorflow as tf

run = tf.lite.Interpreter("model.tflite").get_signature_runner("serving_default")
outputs = run({argument}=inputs)["default"]  # float32 {shape}
```"""

_ONNX = """```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(outputs,) = session.run(["default"], {{"{argument}": inputs}})  # float32 {shape}
```"""

_TORCH = """```python
import safetensors.torch
import torch
import torchvision

model = torchvision.models.resnet{depth}({classes})
{changes}
model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
outputs = model.eval()(images)  # [b, {channels}, h, w] float32 in [0, 1], not normalised
```"""


def code(facts: Mapping[str, Any]) -> str:
    """Markdown: a block of Python for the model of that export.json."""
    form = facts.get("format", "saved_model")
    if form == "torch":
        return _torch(facts)
    if form in ("saved_model", "hub"):
        return _SAVED_MODEL
    argument = "representations" if facts["model"] == "projection_head" else "images"
    shape = ["b" if side is None else side for side in facts["input_shape"]]
    if len(shape) == 4:
        shape[1:3] = [free if side == "b" else side for free, side in zip("hw", shape[1:3], strict=True)]
    text = f"[{', '.join(map(str, shape))}]"
    return (_ONNX if form == "onnx" else _TFLITE).format(argument=argument, shape=text)


def _torch(facts: Mapping[str, Any]) -> str:
    """What torchvision's ResNet has to be told: its stem, its pooling and its last layer."""
    resnet, channels, changes = facts["resnet"], facts["channels"], []
    if resnet["stem"] == "cifar":
        changes += [
            f"model.conv1 = torch.nn.Conv2d({channels}, 64, 3, padding=1, bias=False)",
            "model.maxpool = torch.nn.Identity()",
        ]
    else:
        if channels != 3:
            changes += [f"model.conv1 = torch.nn.Conv2d({channels}, 64, 7, 2, 3, bias=False)"]
        changes += [
            "model.maxpool = torch.nn.MaxPool2d(3, 2, ceil_mode=True)  # pads as TensorFlow: of sides 4n"
        ]
    if resnet["depth"] < 50:  # the authors project the first shortcut of every group
        changes += [
            "project = torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.BatchNorm2d(64)",
            "model.layer1[0].downsample = torch.nn.Sequential(*project)",
        ]
    classes = f"num_classes={facts['num_classes']}"
    if facts["model"] == "encoder":
        classes = ""
        changes += ["model.fc = torch.nn.Identity()"]
    return _TORCH.format(
        depth=resnet["depth"], classes=classes, changes="\n".join(changes), channels=channels
    )
