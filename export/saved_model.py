"""Writes the exports of a run: `<output_dir>/<model>/<step>/`, whole and verified, or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tf_simclr
from tf_simclr.data.decoding import Decoding, decode_image, in_channels
from tf_simclr.data.views import evaluation_view
from tf_simclr.evaluation.features import encoder_sha256

from . import convert, model_card, serving, signatures, verification
from . import formats as formats_lib
from . import parts as parts_lib
from .folders import versions
from .parts import Models, Part
from .signatures import Preprocess
from .verify import graph_sha256, weights_sha256


def export_run(
    run: Any, output_dir: str, *, overwrite: bool = False, formats: Sequence[str] = ("saved_model",)
) -> list[Path]:
    """Exports what `tf_simclr.runs.loading.load_run` returned; see `export_models`."""
    models = Models(
        encoder=run.encoder,
        image_size=run.config.data.image_size,
        step=run.step,
        projection_head=run.projection_head,
        classifier=run.classifier,
        head_layer=run.head_layer,
        class_names=run.class_names,
        center_crop_fraction=run.config.data.center_crop_fraction or None,
        resize_first=run.config.data.resize_first,
        upright=run.config.data.exif == "apply",
        config=run.settings,
        git_commit=run.git_commit,
        top1=run.top1,
        momentum=run.momentum,
        channels=run.config.data.channels,
        texts=run.texts,
    )
    return export_models(models, output_dir, overwrite=overwrite, formats=formats)


def export_models(
    models: Models, output_dir: str, *, overwrite: bool = False, formats: Sequence[str] = ("saved_model",)
) -> list[Path]:
    """Writes the models in every format and returns the new folders.

    SavedModels go to `<output_dir>/{encoder,projection_head,classifier,text_encoder}/<step>`, the converted
    encoder to `encoder_tflite/<step>/model.tflite` and `encoder_onnx/<step>/model.onnx`. All are written
    under hidden names and checked (the SavedModels in a fresh process), then renamed.

    Raises:
        UsageError: an unknown format or one whose package is missing, or a number that exists.
        RuntimeError: an export, or a copy made for it, that does not do what the live model does.
    """
    formats_lib.check(formats)
    with versions(output_dir, models.step, overwrite) as pending:
        converted = {name: f"encoder_{name}" for name in formats if name != "saved_model"}
        preprocess = _preprocess(models)
        parts = parts_lib.build(models, preprocess)
        saved = parts if "saved_model" in formats else {}
        pending.refuse_existing([*saved, *converted.values()])
        for name, part in saved.items():
            _write(part, name, models, preprocess, pending.folder(name))
        _verify(list(pending.unfinished.values()))
        for name, folder in converted.items():
            _write_converted(parts["encoder"], name, models, pending.folder(folder))
        return pending.publish()


def _preprocess(models: Models) -> Preprocess:
    """The evaluation view that the run's own evaluation sees, of an encoded image."""

    def preprocess(image_bytes: tf.Tensor) -> tf.Tensor:
        image = in_channels(decode_image(image_bytes, Decoding(upright=models.upright)), models.channels)
        return evaluation_view(image, models.image_size, models.center_crop_fraction, models.resize_first)

    return preprocess


def _write(part: Part, name: str, models: Models, preprocess: Preprocess, folder: Path) -> None:
    """One SavedModel with the files beside it."""
    root = _root(part)
    with tempfile.TemporaryDirectory() as assets:
        if name == "classifier":
            root.class_names = tf.saved_model.Asset(_class_names_file(_class_names(part, models), assets))
        tf.saved_model.save(root, str(folder), signatures=part.signatures)
    answers = verification.arrays(root, part.cases, part.layers)
    if name in ("encoder", "classifier"):
        answers |= verification.encoded_images(preprocess, models.image_size)
    np.savez_compressed(folder / "verification.npz", **answers)
    facts = {**_facts(part, name, models), "graph_sha256": graph_sha256(folder)}
    _write_json(folder / "export.json", facts)
    (folder / "README.md").write_text(model_card.text(facts), encoding="utf-8")
    serving.write_warm_up(folder, part, answers)


def _root(part: Part) -> tf.train.Checkpoint:
    """The Reusable SavedModel, a head with its layers inside."""
    root = signatures.reusable(part.call, part.spec, part.layers)
    if part.words is not None:
        root.words = part.words
    width = part.spec.shape[-1]
    for name, layer in part.named.items():
        spec = signatures.vectors(width)
        setattr(root, name, signatures.reusable(parts_lib.in_order([layer]), spec, [layer]))
        width = layer(tf.zeros([1, width])).shape[-1]
    return root


def _class_names_file(names: Sequence[str], folder: str) -> str:
    """class_names.txt, a line a class, in the order of the logits."""
    path = os.path.join(folder, "class_names.txt")
    Path(path).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def _class_names(part: Part, models: Models) -> list[str]:
    return list(models.class_names) or [str(number) for number in range(part.layers[-1].num_classes)]


def _facts(part: Part, name: str, models: Models) -> dict[str, Any]:
    """What export.json says."""
    return {
        "model": name,
        "step": models.step,
        "image_size": models.image_size,
        "channels": models.channels,
        "exif": "apply" if models.upright else "ignore",
        "center_crop_fraction": models.center_crop_fraction or 0.0,
        "resize_first": models.resize_first,
        "representation_dim": models.encoder.output_dim,
        "projection_dim": _projection_dim(models),
        "num_classes": getattr(models.classifier, "num_classes", None),
        "class_names": _class_names(part, models) if name == "classifier" else None,
        "layers": list(part.named),
        "top1": models.top1,
        "momentum_encoder": models.momentum,
        "encoder_sha256": encoder_sha256(models.encoder),
        "weights_sha256": weights_sha256([v for layer in part.layers for v in layer.variables]),
        "git_commit": models.git_commit,
        "versions": {
            "tf_simclr": tf_simclr.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "config": models.config,
    }


def _projection_dim(models: Models) -> int | None:
    """Width of z: a head's `out_dim`, but that of h where the head's mode is "none"."""
    if models.projection_head is None:
        return None
    return models.projection_head(tf.zeros([1, models.encoder.output_dim])).shape[-1]


def _write_converted(part: Part, name: str, models: Models, folder: Path) -> None:
    """The encoder in another format with its export.json, compared with the live model."""
    path = convert.convert(name, part, folder)
    difference = convert.largest_difference(path, part)
    if not difference <= convert.TOLERANCE:
        raise RuntimeError(
            f"{path.name} differs from the live model by {difference:.1e}; nothing was exported"
        )
    _write_json(folder / "export.json", {**_facts(part, "encoder", models), "format": name})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _verify(folders: Sequence[Path]) -> None:
    """Runs `python -m export --verify` on the folders in a process of its own."""
    if not folders:
        return
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    own = __name__.partition(".")[0]
    command = [sys.executable, "-m", own, *(f"--verify={folder.absolute()}" for folder in folders)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"the export does not verify, so nothing was exported:\n{done.stdout}{done.stderr[-2000:]}"
        )
    print(done.stdout, end="", flush=True)
