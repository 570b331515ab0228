"""Writes the exports of a run: `<output_dir>/<model>/<step>/`, whole and verified, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.decoding import Decoding, decode_image, in_channels
from tf_simclr.data.views import evaluation_view
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize

from . import convert, converted, hub, model_card, serving, signatures, torch_weights, verification
from . import formats as formats_lib
from . import parts as parts_lib
from . import samples as samples_lib
from .facts import class_names, facts
from .folders import versions
from .parts import Models, Part
from .samples import Samples
from .signatures import Preprocess
from .verify import graph_sha256


def export_run(
    run: Any,
    output_dir: str,
    *,
    data_dir: str = "",
    licence: str = hub.UNKNOWN,
    figures: Mapping[str, bytes] = MappingProxyType({}),
    **wanted: Any,
) -> list[Path]:
    """Exports what `tf_simclr.runs.loading.load_run` returned; `wanted` are keywords of `export_models`.

    Args:
        data_dir: where the run's data set is now; empty: where the run had it.
        licence, figures: of hub's folders; see `Models`.
    """
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
        licence=licence,
        figures=figures,
    )
    samples = samples_lib.for_formats(wanted.get("formats", ()), run.config, data_dir, wanted.get("size"))
    return export_models(models, output_dir, samples=samples, **wanted)


def export_models(
    models: Models,
    output_dir: str,
    *,
    overwrite: bool = False,
    formats: Sequence[str] = ("saved_model",),
    batch: int = 0,
    size: ImageSize | None = None,
    samples: Samples | None = None,
) -> list[Path]:
    """Writes the models in every format and returns the new folders.

    SavedModels go to `<output_dir>/{encoder,projection_head,classifier,text_encoder}/<step>`, files of
    another format to `<output_dir>/encoder_<format>/<step>` and so on. All are written under hidden names
    and checked (the SavedModels in a fresh process), then renamed.

    Args:
        batch, size: that TFLite and ONNX files take alone; 0 and None: any.
        samples: the run's images, which tflite_int8 needs.

    Raises:
        UsageError: a format that is unknown, lacks its package or does not fit the models, or a number that
            exists.
        RuntimeError: an export, or a copy made for it, that does not do what the live model does.
    """
    _check(models, formats, samples)
    with versions(output_dir, models.step, overwrite) as pending:
        preprocess = _preprocess(models)
        parts = parts_lib.build(models, preprocess)
        fixed = {
            name: convert.with_shape(part, batch, size) for name, part in parts.items() if part.words is None
        }
        planned = [(name, form) for form in dict.fromkeys(formats) for name in converted.planned(parts, form)]
        pending.refuse_existing([_folder_name(name, form) for name, form in planned])
        graphs = [(name, form) for name, form in planned if form in formats_lib.GRAPHS]
        for name, form in graphs:
            _write(parts[name], name, models, preprocess, pending.folder(_folder_name(name, form)), form)
        _verify(list(pending.unfinished.values()))
        for name, form in planned:
            if (name, form) not in graphs:
                of = fixed if form in formats_lib.CONVERTED else parts
                folder = pending.folder(_folder_name(name, form))
                print(converted.write(of, name, form, models, samples, folder), flush=True)
        return pending.publish()


def _check(models: Models, formats: Sequence[str], samples: Samples | None) -> None:
    formats_lib.check(formats)
    if "torch" in formats:
        torch_weights.require_loadable(models.encoder)
    if "tflite_int8" in formats and samples is None:
        raise UsageError("--format=tflite_int8 calibrates on images of training, and there are none")


def _folder_name(name: str, form: str) -> str:
    return name if form == "saved_model" else f"{name}_{form}"


def _preprocess(models: Models) -> Preprocess:
    """The evaluation view that the run's own evaluation sees, of an encoded image."""

    def preprocess(image_bytes: tf.Tensor) -> tf.Tensor:
        image = in_channels(decode_image(image_bytes, Decoding(upright=models.upright)), models.channels)
        return evaluation_view(image, models.image_size, models.center_crop_fraction, models.resize_first)

    return preprocess


def _write(
    part: Part, name: str, models: Models, preprocess: Preprocess, folder: Path, form: str = "saved_model"
) -> None:
    """One SavedModel with the files beside it."""
    root = _root(part)
    with tempfile.TemporaryDirectory() as assets:
        if name == "classifier":
            root.class_names = tf.saved_model.Asset(_class_names_file(class_names(part, models), assets))
        tf.saved_model.save(root, str(folder), signatures=part.signatures)
    answers = verification.arrays(root, part.cases, part.layers)
    if name in ("encoder", "classifier"):
        answers |= verification.encoded_images(preprocess, models.image_size)
    np.savez_compressed(folder / "verification.npz", **answers)
    content = {
        **facts(part, name, models),
        "format": form,
        "signatures": sorted(part.signatures),
        "graph_sha256": graph_sha256(folder),
    }
    (folder / "export.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    card = model_card.text(content)
    if form == "hub":
        card = hub.with_metadata(card, content, models, folder)
    else:
        serving.write_warm_up(folder, part, answers)
    (folder / "README.md").write_text(card, encoding="utf-8")


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
