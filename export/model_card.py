"""The model card: README.md beside an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_simclr import methods
from tf_simclr.config import stored
from tf_simclr.errors import UsageError

from . import usage

_WHAT = {
    "encoder": "{method} encoder: {images} in [0, 1] to h [b, {D}] float32.",
    "projection_head": "{method} projection head: h [b, {D}] to projections z [b, {P}], float32.",
    "classifier": "On a {method} encoder: {images} in [0, 1] to logits [b, {C}].",
    "text_encoder": "{method} text encoder: strings [b], UTF-8, to embeddings [b, {P}] float32, "
    "which go with the projections z of images: compare them by cosine.",
}

_CARD = """# {title}, step {step}

{what}

| | |
|---|---|
| data set | {dataset} |
| command | {command} |
| encoder | {encoder} |
| pretrained by | {pretrained_by} |
| image size | {image_size} px, {colour} |
| top-1 | {top1} |
| code | tf_simclr {version}, commit {commit} |
| weights | {weights} |
| weights, SHA-256 | `{sha}` |

## Use

{use}
{measured}{bytes}
## Limits

The weights carry what the data set holds, its gaps and biases included; measure on your own images before
relying on them. No augmentation and no mean or deviation is applied inside. `export.json` has the whole
configuration.
{citation}"""

_MOMENTUM = "the moving average of the trained ones that the method keeps (momentum encoder)"

_CITATION = """
## Citation

{text}
"""

_MEASURED = """
## Against the live model

{sentence}. `export.json` has the figures.
"""

_BYTES = """
`serving_uint8` takes `images` as above, uint8 from 0 to 255.
`serving_bytes` takes encoded JPEG, PNG, GIF (first frame) or BMP files and prepares them as the run's
evaluation does: shorter side, centre crop, {image_size} px, {colour}. EXIF orientation is {exif}, as in
training.
TIFF is refused, and WebP by TensorFlow 2.15 too: convert those, or give `serving_default` decoded images.
"""


def text(facts: Mapping[str, Any]) -> str:
    """The card, from the content of export.json; unknown things are called unknown."""
    config = facts["config"]
    model = facts["model"]
    pretrained = stored.pretraining(config) or {}
    method = _method(pretrained)
    citation = method.citation if method is not None else ""
    channels = facts.get("channels", 3)
    colour = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    sizes = {
        "images": f"images [b, h, w, {channels}] float32 {colour}",
        "method": _title(config, pretrained, method),
        "D": facts["representation_dim"],
        "P": facts["projection_dim"],
        "C": facts["num_classes"],
    }
    top1 = facts["top1"]
    return _CARD.format(
        title=model.replace("_", " ").capitalize(),
        step=facts["step"],
        what=_WHAT[model].format(**sizes),
        encoder=_encoder(config.get("encoder", {})),
        pretrained_by=_lineage(config, pretrained),
        citation=_CITATION.format(text=citation) if citation else "",
        dataset=config.get("data", {}).get("dataset") or "unknown",
        command=config.get("command", "unknown"),
        image_size=facts["image_size"],
        colour=colour,
        top1="unknown" if top1 is None else f"{top1:.2f} %",
        version=facts["versions"]["tf_simclr"],
        commit=facts["git_commit"] or "unknown",
        weights=_MOMENTUM if facts.get("momentum_encoder") else "as trained",
        sha=facts["weights_sha256"],
        use=usage.code(facts),
        measured=_measured(facts),
        bytes=_bytes(facts, colour) if "serving_bytes" in facts.get("signatures", ()) else "",
    )


def _measured(facts: Mapping[str, Any]) -> str:
    if "largest_difference" not in facts:
        return ""
    said = distance(facts)
    return _MEASURED.format(sentence=said[0].upper() + said[1:])


def distance(facts: Mapping[str, Any]) -> str:
    """What export.json says of a converted model, in words."""
    said = f"largest difference from the live model {facts['largest_difference']:.1e}"
    drop = facts.get("drop")
    if not drop:
        return said
    of = f"of {drop['images']:,} images ({drop['split']})"
    said += f", cosine {drop['cosine']:.5f}"
    if "top1" not in drop:
        return f"{said} {of}"
    kind = "top-1" if facts["model"] == "classifier" else "nearest neighbour's top-1"
    change = drop["top1"] - drop["live_top1"]
    return f"{said}; {kind} {of}: live {drop['live_top1']:.2f} %, here {drop['top1']:.2f} % ({change:+.2f})"


def _bytes(facts: Mapping[str, Any], colour: str) -> str:
    exif = "applied" if facts.get("exif") == "apply" else "ignored"
    return _BYTES.format(image_size=facts["image_size"], colour=colour, exif=exif)


def _method(pretrained: Mapping[str, Any]) -> methods.Method | None:
    """The method of a pretraining; the authors' own weights are SimCLR's. None where it is not to be had."""
    name = pretrained.get("method", {}).get("name", "simclr" if pretrained else "")
    try:
        return methods.find(name)() if name else None
    except UsageError:  # a user's own, which is not here
        return None


def _title(config: Mapping[str, Any], pretrained: Mapping[str, Any], method: methods.Method | None) -> str:
    if method is not None:
        return type(method).__name__
    return pretrained["method"]["name"] if pretrained else _without_pretraining(config)


def _without_pretraining(config: Mapping[str, Any]) -> str:
    """What the first run of the chain left an encoder as."""
    while source := config.get("pretrained_by") or config.get("taught_by"):
        config = source
    if config.get("checkpoints", {}).get("checkpoint") != "":
        return "Unknown"
    return "Supervised" if config["command"] == "finetune" else "Untrained"


def _lineage(config: Mapping[str, Any], pretrained: Mapping[str, Any]) -> str:
    """The pretraining, and the teacher of a student or of what a later command started from."""
    tree: Mapping[str, Any] | None = config
    while tree is not None and "taught_by" not in tree:
        tree = tree.get("pretrained_by")
    if tree is None:
        return _pretraining(pretrained)
    taught_by = tree["taught_by"]
    teacher = f"a teacher ({_encoder(taught_by.get('encoder', {}))}, by {taught_by['command']})"
    if "pretrained_by" in tree:
        return f"{_pretraining(pretrained)}; then distilled from {teacher}"
    return f"distilled from {teacher}, whose encoder was pretrained by {_pretraining(pretrained)}"


def _pretraining(pretrained: Mapping[str, Any]) -> str:
    """Method, its options, data and length of a pretraining."""
    if not pretrained:
        return "nothing: trained from random weights, or not known"
    if "method" not in pretrained:
        return f"the authors: {pretrained['imported']['source']}"
    options = dict(pretrained["method"])
    name, train = options.pop("name"), pretrained.get("optimization")
    stated = ", ".join(f"{option} {value}" for option, value in options.items())
    if train is None:
        return f"{name} ({stated}), in Python"  # by `save_run`, which knows no more
    length = f"{train['train_steps']} steps" if train["train_steps"] else f"{train['train_epochs']} epochs"
    data, batch = pretrained["data"]["dataset"], train["train_batch_size"]
    return f"{name} ({stated}) on {data}, {length} of {batch} images a step"


def _encoder(settings: Mapping[str, Any]) -> str:
    if not settings:
        return "unknown"
    if settings.get("encoder", "resnet") != "resnet":
        return settings["encoder"]
    return (
        f"ResNet-{settings['resnet_depth']}, width {settings['width_multiplier']}, selective kernels "
        f"{settings['sk_ratio']}, {settings['stem']} stem"
    )
