"""`--verify` passes what is whole and finds what is not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model, signatures, verify
from export.parts import Models, Part
from export.saved_model import export_models
from export.signatures import images
from tf_simclr.models import LinearClassifier

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "reusable interface",
    "weights",
    "inference",
    "training",
    "gradients",
    "fine-tuning",
    "signatures",
    "image bytes",
    "class names",
    "independence",
)


def run_verify(*folders: Path, python: str = sys.executable, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a fresh process, with Keras as TensorFlow brings it unless `env` says otherwise."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [python, "-m", "export", *(f"--verify={folder}" for folder in folders)]
    return subprocess.run(
        command, cwd=ROOT, env={**clean, **env}, check=False, capture_output=True, text=True
    )


def failure(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """The line of the first failed check."""
    assert verify.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("FAIL" in line for line in lines) == 1
    return lines[-1]


@pytest.mark.slow
def test_export_passes_every_check_in_a_fresh_process(exports: Path):
    done = run_verify(exports / "classifier")  # exporting verified all three in this way
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^  ok    (.*?):", done.stdout, re.M) == list(NAMES)
    assert "neither tf_simclr nor keras_cv is imported" in done.stdout


def test_newer_tensorflow_and_keras_3(exports: Path):
    python = os.environ.get("TF_SIMCLR_NEWER_PYTHON", sys.executable)
    if sys.version_info < (3, 12) and python == sys.executable:
        pytest.skip("needs a Python with TensorFlow 2.16 or later: set TF_SIMCLR_NEWER_PYTHON")
    done = run_verify(exports / "encoder", exports / "classifier", python=python, TF_USE_LEGACY_KERAS="0")
    assert done.returncode == 0, done.stdout + done.stderr


def stores(name: str) -> Callable[[Path], None]:
    """Breaks an export folder: an array of verification.npz is off by 1e-3."""

    def change(folder: Path) -> None:
        with np.load(folder / "verification.npz") as stored:
            arrays = dict(stored)
        np.savez(folder / "verification.npz", **{**arrays, name: arrays[name] + 1e-3})

    return change


def names_other_weights(folder: Path) -> None:
    facts = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**facts, "weights_sha256": "0" * 64}))


def flips_a_bit(folder: Path) -> None:
    (path,) = (folder / "variables").glob("variables.data*")
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)


def names_one_class(folder: Path) -> None:
    (folder / "assets" / "class_names.txt").write_text("cat\n")


def test_a_graph_that_is_not_known_is_said_to_run_before_it_does(
    exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "CHECKS", ())
    monkeypatch.setattr(verify, "load", lambda folder: print("loaded"))
    assert verify.main([str(exports / "encoder")]) == 0
    assert "warn" not in capsys.readouterr().out
    folder = tmp_path / "1000"
    shutil.copytree(exports / "encoder" / "1000", folder)
    with (folder / "saved_model.pb").open("ab") as file:
        file.write(b"\0")
    assert verify.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.index("warn  graph: not the one that was exported") < said.index("loaded")


@pytest.mark.parametrize(
    ("check", "breaks", "says"),
    [
        ("load", flips_a_bit, "Checksum"),
        ("weights", names_other_weights, "export.json says 0000"),
        ("inference", stores("inference_3"), "input 3: differs by 1"),
        ("training", stores("training_1"), "input 1: differs by 1"),
        ("image bytes", stores("png_image"), "serving_bytes: "),
        ("class names", names_one_class, "1 lines for 3 logits"),
    ],
)
def test_changed_file_fails(
    small: Models, tmp_path: Path, capsys, check: str, breaks: Callable[[Path], None], says: str
):
    classifier = LinearClassifier(3)
    classifier(tf.zeros([1, small.encoder.output_dim]))
    *_, folder = export_models(dataclasses.replace(small, classifier=classifier), str(tmp_path))
    breaks(folder)
    line = failure(capsys, folder)
    assert line.startswith(f"  FAIL  {check}: ")
    assert says in line


def answers(change: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[Any], None]:
    """Breaks a root: the outputs of its call go through `change`."""

    def breaks(root: Any) -> None:
        live = root.__call__

        @tf.function
        def traced(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            return change(live(inputs, training=training))

        for training in (False, True):
            traced.get_concrete_function(images(3), training=training)
        root.__call__ = traced

    return breaks


def statistics(root: Any) -> list[tf.Variable]:
    trained = {id(variable) for variable in root.trainable_variables}
    return [variable for variable in root.variables if id(variable) not in trained]


def keeps_statistics(root: Any) -> None:
    """Breaks a root: training moves no statistics."""
    live, kept = root.__call__, statistics(root)

    @tf.function
    def traced(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        before = [tf.identity(variable) for variable in kept]
        outputs = live(inputs, training=training)
        for variable, value in zip(kept, before, strict=True):
            variable.assign(value)
        return outputs

    for training in (False, True):
        traced.get_concrete_function(images(3), training=training)
    root.__call__ = traced


def moves_statistics(root: Any) -> None:
    """Breaks a root: inference moves a statistic."""
    live, moved = root.__call__, statistics(root)[0]

    @tf.function
    def traced(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = live(inputs, training=training)
        if not training:
            moved.assign_add(tf.fill(moved.shape, 1e-7))
        return outputs

    for training in (False, True):
        traced.get_concrete_function(images(3), training=training)
    root.__call__ = traced


def trains_what_it_does_not_list(root: Any) -> None:
    root.trainable_variables = [*root.trainable_variables, tf.Variable(1.0)]


def holds_a_double(root: Any) -> None:
    root.variables = [*root.variables, tf.Variable(1.0, dtype=tf.float64)]


def has_no_losses(root: Any) -> None:
    del root.regularization_losses


@pytest.mark.parametrize(
    ("check", "breaks", "says"),
    [
        ("reusable interface", trains_what_it_does_not_list, "that variables does not"),
        ("reusable interface", holds_a_double, "expected float32 alone"),
        ("reusable interface", has_no_losses, "regularization_losses"),
        ("training", keeps_statistics, "did not move with training=True"),
        ("inference", moves_statistics, "moved with training=False"),
        ("gradients", answers(tf.stop_gradient), "no finite gradient with training=False"),
        ("fine-tuning", answers(lambda y: 11 * tf.stop_gradient(y) - 10 * y), "the loss went from"),
    ],
)
def test_model_that_breaks_its_promise_fails(
    small: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    check: str,
    breaks: Callable[[Any], None],
    says: str,
):
    make = saved_model._root

    def root(part: Part) -> Any:
        made = make(part)
        breaks(made)
        return made

    monkeypatch.setattr(saved_model, "_root", root)
    (folder,) = export_models(small, str(tmp_path))
    line = failure(capsys, folder)
    assert line.startswith(f"  FAIL  {check}: ")
    assert says in line


def test_signature_that_is_wrong_on_a_batch_alone_fails(
    small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    make = signatures._image_signatures

    def wrong_on_a_batch(outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]], *rest: Any) -> Any:
        def changed(images: tf.Tensor) -> dict[str, tf.Tensor]:
            shift = 1e-3 * tf.cast(tf.shape(images)[0] > 1, tf.float32)
            return {name: value + shift for name, value in outputs(images).items()}

        return make(changed, *rest)

    monkeypatch.setattr(signatures, "_image_signatures", wrong_on_a_batch)
    (folder,) = export_models(small, str(tmp_path))
    assert "  FAIL  signatures: image_feature_vector, input 2: differs by 1" in failure(capsys, folder)


def test_a_process_with_the_training_code_is_no_proof(small: Models, tmp_path: Path, capsys):
    (folder,) = export_models(small, str(tmp_path))
    line = failure(capsys, folder)
    assert "FAIL  independence: " in line
    assert "tf_simclr" in line


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("encoder", {"serving_default", "serving_bytes", "image_feature_vector"}),
        ("projection_head", {"serving_default"}),
        ("classifier", {"serving_default", "serving_bytes"}),
    ],
)
def test_an_older_export_has_no_signature_of_uint8(tmp_path: Path, model: str, signatures: set[str]):
    older = verify.Export(tmp_path, {"model": model}, {}, None)
    assert verify._expected_signatures(older) == signatures


def test_largest_number_counts(tmp_path: Path):
    for number in ("9", "10", ".11-abc"):
        (tmp_path / number).mkdir()
        for name in verify.FILES:
            (tmp_path / number / name).touch()
    assert verify.resolve(str(tmp_path)) == tmp_path / "10"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_export_is_a_mistake(tmp_path: Path, capsys, make: Callable[[Path], None]):
    make(tmp_path / "here")
    assert verify.main([str(tmp_path / "here")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
