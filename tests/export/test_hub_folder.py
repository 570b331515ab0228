"""--format=hub: what the clients of Hugging Face and Kaggle make of the folder, without a network."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import hub
from export.__main__ import main
from export.parts import Models
from export.saved_model import export_models
from tests.small_runs import folder_of
from tf_simclr.config import Config

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def folder(one_layer: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier's."""
    shown = dataclasses.replace(one_layer, licence="cc-by-4.0", figures={"training.png": PNG})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.saved_model._verify", lambda folders: None)
        *_, made = export_models(shown, str(tmp_path_factory.mktemp("hub")), formats=["hub"])
    return made


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def logits(one_layer: Models, pictures: np.ndarray) -> np.ndarray:
    h = one_layer.encoder(tf.constant(pictures))
    return one_layer.classifier(one_layer.projection_head.layer_outputs(h)[1]).numpy()


def close(found: tf.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_card_is_one_that_hugging_face_reads(folder: Path):
    client = pytest.importorskip("huggingface_hub", reason="needs requirements-hub.txt")
    card = client.ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-4.0", "image-classification")
    assert {"simclr", "tensorflow", "saved-model"} <= set(card.data.tags)
    assert card.data.datasets == ["digits"]
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_name, result.metric_value) == ("digits", "top-1", 0.875)
    assert "# Classifier, step 1000" in card.text
    assert "cc-by-4.0. The code that made the weights, tf_simclr, is under Apache 2.0" in card.text


def test_the_figures_are_where_the_card_looks_for_them(folder: Path):
    assert "](figures/training.png)" in (folder / "README.md").read_text()
    assert (folder / "figures" / "training.png").read_bytes() == PNG


def test_a_licence_that_nobody_stated_is_no_licence(one_layer: Models, tmp_path: Path):
    facts = {"model": "encoder", "config": {"data": {"dataset": "folder:/home/me"}}, "top1": None}
    card = hub.with_metadata("# Card\n", facts, one_layer, tmp_path)
    assert card.startswith('---\nlicense: "unknown"\n')
    assert "Not stated by who exported it" in card
    assert "folder:" not in card
    assert "model-index" not in card


def test_a_snapshot_of_hugging_face_is_the_model(
    folder: Path, tmp_path: Path, pictures: np.ndarray, logits: np.ndarray
):
    client = pytest.importorskip("huggingface_hub", reason="needs requirements-hub.txt")
    kept = tmp_path / "models--me--simclr"
    shutil.copytree(folder, kept / "snapshots" / "0123abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0123abc")
    found = client.snapshot_download("me/simclr", cache_dir=tmp_path, local_files_only=True)
    close(tf.saved_model.load(found)(pictures), logits)


def test_keras_2_has_it_as_from_pretrained_keras_loads_it(
    folder: Path, pictures: np.ndarray, logits: np.ndarray
):
    """All that it does; the function itself cannot be imported beside safetensors without PyTorch."""
    close(tf.keras.models.load_model(str(folder))(pictures), logits)


def test_kaggle_finds_it_where_it_keeps_models(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: np.ndarray, logits: np.ndarray
):
    kagglehub = pytest.importorskip("kagglehub")
    from kagglehub import cache, handle

    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    name = "me/simclr/tensorFlow2/classifier/1"
    shutil.copytree(folder, cache.get_cached_path(handle.parse_model_handle(name)))
    cache.Cache().mark_as_complete(handle.parse_model_handle(name))
    close(tf.saved_model.load(kagglehub.model_download(name))(pictures), logits)


def test_figures_are_drawn_from_the_runs_own_tables(pretrained: Config, tmp_path: Path):
    found = hub.figures(str(folder_of(pretrained)), [str(digit) for digit in range(10)])
    assert sorted(found) == ["confusion.png", "training.png"]
    assert all(png.startswith(PNG) for png in found.values())
    (tmp_path / "config.json").touch()
    assert hub.figures(str(tmp_path), ["a"]) == {}


@pytest.mark.slow
def test_the_command_writes_licence_and_figures(pretrained: Config, tmp_path: Path):
    flags = [f"--checkpoint={folder_of(pretrained)}", f"--output_dir={tmp_path}", "--format=hub"]
    assert main([*flags, "--license=apache-2.0"]) == 0
    (encoder,) = (tmp_path / "encoder_hub").iterdir()
    assert 'license: "apache-2.0"' in (encoder / "README.md").read_text()
    assert sorted(path.name for path in (encoder / "figures").iterdir()) == ["confusion.png", "training.png"]
