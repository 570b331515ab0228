"""TFLite and ONNX files of every part."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export import convert, drop, parts
from export.parts import Models
from export.quiet import quiet
from export.samples import Samples, of_run
from export.saved_model import export_models
from tests.export.conftest import here
from tests.small_runs import Make
from tf_simclr.errors import UsageError
from tf_simclr.models import ResNet

PARTS = ("encoder", "projection_head", "classifier")


def run(folder: Path, inputs: np.ndarray) -> np.ndarray:
    """`default` by the file of that folder, through public interfaces alone."""
    name = "representations" if inputs.ndim == 2 else "images"
    if (folder / "model.onnx").exists():
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs requirements-onnx.txt")
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        return session.run(["default"], {name: inputs})[0]
    served = tf.lite.Interpreter(str(folder / "model.tflite")).get_signature_runner("serving_default")
    return served(**{name: inputs})["default"]


def live(models: Models, part: str, inputs: np.ndarray) -> np.ndarray:
    if part == "projection_head":
        return models.projection_head(tf.constant(inputs)).numpy()
    h = models.encoder(tf.constant(inputs))
    if part == "encoder":
        return h.numpy()
    return models.classifier(models.projection_head.layer_outputs(h)[1]).numpy()


def inputs_of(part: str, batch: int = 3) -> np.ndarray:
    shape = (batch, 5) if part == "projection_head" else (batch, 12, 9, 3)
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_converted_encoder_equals_the_live_one(
    models: Models, encoder: ResNet, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
):
    if not here(name):
        pytest.skip(f"needs requirements-{name}.txt")
    alone = dataclasses.replace(models, encoder=encoder, projection_head=None, classifier=None, head_layer=0)
    (folder,) = export_models(alone, str(tmp_path), formats=[name])
    said, wrong = capfd.readouterr()
    assert said.startswith(f"encoder_{name}: largest difference from the live model ")
    assert (len(said.splitlines()), wrong) == (1, ""), "the converter spoke"
    assert folder == tmp_path / f"encoder_{name}" / "1000"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "export.json", f"model.{name}"]
    images = np.random.default_rng(0).random((3, 40, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(run(folder, images), encoder(tf.constant(images)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("tflite", 1e-4), ("onnx", 1e-4), ("tflite_float16", 1e-2), ("tflite_int8", 0.2)]
)
@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_converted(converted: Path, one_layer: Models, part: str, name: str, tolerance: float):
    if not here(name):
        pytest.skip(f"needs requirements-{name}.txt")
    folder = converted / f"{part}_{name}" / "1000"
    facts = json.loads((folder / "export.json").read_text())
    assert (facts["model"], facts["format"]) == (part, name)
    assert (facts["class_names"] is not None) == (part == "classifier")
    for batch in (1, 3):
        inputs = inputs_of(part, batch)
        np.testing.assert_allclose(
            run(folder, inputs), live(one_layer, part, inputs), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize(("name", "kind"), [("tflite_float16", np.float16), ("tflite_int8", np.int8)])
def test_weights_are_of_the_type_that_the_format_says(converted: Path, name: str, kind: type):
    def weights(form: str) -> list[np.ndarray]:
        file = tf.lite.Interpreter(str(converted / f"encoder_{form}" / "1000" / "model.tflite"))
        file.allocate_tensors()
        return [detail for detail in file.get_tensor_details() if list(detail["shape"]) in ([5, 3], [3, 5])]

    assert kind in {detail["dtype"] for detail in weights(name)}
    assert {detail["dtype"] for detail in weights("tflite")} == {np.float32}


@pytest.mark.parametrize("name", ["tflite_float16", "tflite_int8"])
@pytest.mark.parametrize("part", PARTS)
def test_the_drop_is_that_of_the_files_on_the_images(
    converted: Path, one_layer: Models, samples: Samples, part: str, name: str
):
    folder = converted / f"{part}_{name}" / "1000"
    drop = json.loads((folder / "export.json").read_text())["drop"]
    batches = list(samples.measured())
    images, labels = (np.concatenate([batch[key] for batch in batches]) for key in ("image", "label"))
    inputs = live(one_layer, "encoder", images) if part == "projection_head" else images
    expected = {"live_top1": live(one_layer, part, inputs), "top1": run(folder, inputs)}
    for key, values in expected.items():
        assert drop[key] == pytest.approx(top1(values[:-1], labels[:-1], part), abs=1e-6)
    one, other = (value / np.linalg.norm(value, axis=1, keepdims=True) for value in expected.values())
    assert drop["cosine"] == pytest.approx(np.mean(np.sum(one * other, axis=1)), abs=1e-6)
    assert (drop["images"], drop["split"]) == (41, "grey test")
    said = f"live {drop['live_top1']:.2f} %, here {drop['top1']:.2f} %"
    assert said in (folder / "README.md").read_text()


def top1(values: np.ndarray, labels: np.ndarray, part: str) -> float:
    """Percent right: of logits, or of the nearest other image by cosine."""
    if part == "classifier":
        return 100 * np.mean(values.argmax(1) == labels)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -2)
    return 100 * np.mean(labels[similar.argmax(1)] == labels)


def test_a_worse_file_is_told_from_the_live_model(one_layer: Models, samples: Samples):
    part = parts.build(one_layer, lambda image_bytes: tf.zeros([8, 8, 3]))["classifier"]
    exact = drop.measure("classifier", drop.live(part), part, None, samples)
    worse = drop.measure("classifier", lambda images: -drop.live(part)(images), part, None, samples)
    assert exact["largest_difference"] == 0
    assert exact["drop"]["top1"] == exact["drop"]["live_top1"] == worse["drop"]["live_top1"]
    assert worse["drop"]["top1"] != worse["drop"]["live_top1"]
    assert worse["drop"]["cosine"] == pytest.approx(-1)


def test_free_axes_of_onnx_have_names(converted: Path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs requirements-onnx.txt")
    expected: dict[str, Any] = {
        "encoder": (["batch", "height", "width", 3], {"default": ["batch", 5]}),
        "projection_head": (["batch", 5], {"default": ["batch", 4]}),
        "classifier": (
            ["batch", "height", "width", 3],
            {"default": ["batch", 3], "probabilities": ["batch", 3]},
        ),
    }
    for part, (inputs, outputs) in expected.items():
        session = onnxruntime.InferenceSession(str(converted / f"{part}_onnx" / "1000" / "model.onnx"))
        assert [value.shape for value in session.get_inputs()] == [inputs]
        assert {value.name: value.shape for value in session.get_outputs()} == outputs


def test_a_fixed_shape_is_the_files_own(one_layer: Models, samples: Samples, tmp_path: Path):
    alone = dataclasses.replace(one_layer, projection_head=None, classifier=None, head_layer=0)
    wanted: dict[str, Any] = {"batch": 2, "size": "8x6", "samples": samples}
    names = [name for name in ("tflite", "onnx") if here(name)]
    export_models(alone, str(tmp_path), formats=names, **wanted)
    images = np.random.default_rng(0).random((2, 8, 6, 3)).astype(np.float32)
    for name in names:
        folder = tmp_path / f"encoder_{name}" / "1000"
        np.testing.assert_allclose(run(folder, images), live(alone, "encoder", images), rtol=1e-4, atol=1e-4)
        assert json.loads((folder / "export.json").read_text())["input_shape"] == [2, 8, 6, 3]
        assert "[2, 8, 6, 3]" in (folder / "README.md").read_text()
    file = tf.lite.Interpreter(str(tmp_path / "encoder_tflite" / "1000" / "model.tflite"))
    assert [list(value["shape"]) for value in file.get_input_details()] == [[2, 8, 6, 3]]
    assert file.get_input_details()[0]["shape_signature"].tolist() == [2, 8, 6, 3]


def test_any_number_of_inputs_goes_through_a_fixed_batch():
    seen = []

    def double(inputs: np.ndarray) -> np.ndarray:
        seen.append(len(inputs))
        return 2 * inputs

    inputs = np.arange(7.0)[:, None]
    np.testing.assert_array_equal(convert._in_batches(double, inputs, 3), 2 * inputs)
    assert seen == [3, 3, 3]


def test_int8_needs_images_to_calibrate_on(small: Models, tmp_path: Path):
    with pytest.raises(UsageError, match="--format=tflite_int8 calibrates on images"):
        export_models(small, str(tmp_path), formats=["tflite_int8"])
    assert not list(tmp_path.iterdir())


def test_samples_are_the_runs_own_images(tiny: Make):
    config = tiny("linear_eval")
    found = of_run(config, "", None)
    assert found.split == "digits test"
    labels = np.concatenate([batch["label"] for batch in found.measured()])
    assert len(labels) == 360  # all of them
    assert set(labels) == set(range(10))
    images = np.concatenate(list(found.calibration()))
    assert images.shape == (200, 8, 8, 3)
    assert len(np.unique(images.reshape(200, -1), axis=0)) > 190
    assert next(of_run(config, "", "6x4").calibration()).shape[1:] == (6, 4, 3)


def test_a_converter_that_fails_is_heard(capfd: pytest.CaptureFixture[str]):
    @quiet()
    def fails() -> None:
        os.write(2, b"the reason in C++\n")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fails()
    assert "the reason in C++" in capfd.readouterr().err
    os.write(1, b"heard")
    assert capfd.readouterr().out == "heard"


def test_missing_package_is_named(small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    for name, package in (("onnx", "tf2onnx"), ("torch", "safetensors")):
        with pytest.raises(UsageError, match=rf"{package}.*requirements-{name}\.txt"):
            export_models(small, str(tmp_path), formats=[name])
    assert not list(tmp_path.iterdir())


def test_unknown_format_is_refused(small: Models, tmp_path: Path):
    with pytest.raises(
        UsageError, match="choose from saved_model, hub, tflite, tflite_float16, tflite_int8, onnx"
    ):
        export_models(small, str(tmp_path), formats=["coreml"])


def test_file_that_differs_is_not_published(small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drop, "largest_difference", lambda run, part: 2e-4)
    with pytest.raises(RuntimeError, match="differs from the live model"):
        export_models(small, str(tmp_path), formats=["tflite"])
    assert not list((tmp_path / "encoder_tflite").iterdir())
