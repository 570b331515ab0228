"""TFLite and ONNX files of the encoder."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import convert, formats
from export.parts import Models
from export.quiet import quiet
from export.saved_model import export_models
from tf_simclr.errors import UsageError
from tf_simclr.models import ResNet


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_converted_encoder_equals_the_live_one(
    models: Models, encoder: ResNet, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
):
    try:
        formats.check([name])
    except UsageError as error:
        pytest.skip(str(error))
    alone = dataclasses.replace(models, encoder=encoder, projection_head=None, classifier=None, head_layer=0)
    (folder,) = export_models(alone, str(tmp_path), formats=[name])
    assert capfd.readouterr() == ("", ""), "the converter spoke"
    assert folder == tmp_path / f"encoder_{name}" / "1000"
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", f"model.{name}"]
    images = np.random.default_rng(0).random((3, 40, 32, 3)).astype(np.float32)
    run = {"tflite": convert._tflite, "onnx": convert._onnx}[name](folder / f"model.{name}")
    expected = encoder(tf.constant(images))
    np.testing.assert_allclose(run(images), expected, rtol=1e-4, atol=1e-4)


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
    with pytest.raises(UsageError, match=r"tf2onnx.*requirements-onnx\.txt"):
        export_models(small, str(tmp_path), formats=["onnx"])
    assert not list(tmp_path.iterdir())


def test_unknown_format_is_refused(small: Models, tmp_path: Path):
    with pytest.raises(UsageError, match="choose from saved_model, tflite, onnx"):
        export_models(small, str(tmp_path), formats=["coreml"])


def test_file_that_differs_is_not_published(small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convert, "largest_difference", lambda path, part: 2e-4)
    with pytest.raises(RuntimeError, match="differs from the live model"):
        export_models(small, str(tmp_path), formats=["tflite"])
    assert not list((tmp_path / "encoder_tflite").iterdir())
