"""The model card: README.md beside an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHAT = {
    "encoder": "SimCLR encoder: images [b, h, w, 3] float32 RGB in [0, 1] to h [b, {D}] float32.",
    "projection_head": "SimCLR projection head: h [b, {D}] to projections z [b, {P}], float32.",
    "classifier": "On a SimCLR encoder: images [b, h, w, 3] float32 RGB in [0, 1] to logits [b, {C}].",
}

_CARD = """# {title}, step {step}

{what}

| | |
|---|---|
| data set | {dataset} |
| command | {command} |
| encoder | ResNet-{depth}, width {width}, selective kernels {sk}, {stem} stem |
| image size | {image_size} px |
| top-1 | {top1} |
| code | tf_simclr {version}, commit {commit} |
| weights, SHA-256 | `{sha}` |

## Use

```python
import tensorflow as tf

model = tf.saved_model.load(PATH)
outputs = model(inputs)                  # inference
outputs = model(inputs, training=True)   # batch statistics; moves the moving ones
model.trainable_variables                # to fine-tune
```

`python -m export --verify=PATH` compares this folder with the answers of the model that was exported.
{bytes}
## Limits

The weights carry what the data set holds, its gaps and biases included; measure on your own images before
relying on them. No augmentation and no mean or deviation is applied inside. `export.json` has the whole
configuration.

## Citation

Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations.
ICML 2020, arXiv:2002.05709.
"""

_BYTES = """
`serving_bytes` takes encoded JPEG or PNG files and prepares them as the run's evaluation does: shorter side,
centre crop, {image_size} px. EXIF orientation is ignored, as in training.
"""


def text(facts: Mapping[str, Any]) -> str:
    """The card, from the content of export.json; unknown things are called unknown."""
    config = facts["config"]
    encoder = config.get("encoder", {})
    model = facts["model"]
    sizes = {"D": facts["representation_dim"], "P": facts["projection_dim"], "C": facts["num_classes"]}
    top1 = facts["top1"]
    return _CARD.format(
        title=model.replace("_", " ").capitalize(),
        step=facts["step"],
        what=_WHAT[model].format(**sizes),
        dataset=config.get("data", {}).get("dataset") or "unknown",
        command=config.get("command", "unknown"),
        depth=encoder.get("resnet_depth", "unknown"),
        width=encoder.get("width_multiplier", "unknown"),
        sk=encoder.get("sk_ratio", "unknown"),
        stem=encoder.get("stem", "unknown"),
        image_size=facts["image_size"],
        top1="unknown" if top1 is None else f"{top1:.2f} %",
        version=facts["versions"]["tf_simclr"],
        commit=facts["git_commit"] or "unknown",
        sha=facts["weights_sha256"],
        bytes="" if model == "projection_head" else _BYTES.format(image_size=facts["image_size"]),
    )
