"""predictions.npz and the picture of mistakes, as every evaluation leaves them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from etils import epath
from PIL import Image

from tests.small_runs import folder_of
from tf_simclr import inputs, runs
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.evaluation.features import Features
from tf_simclr.protocols import pictures, predictions
from tf_simclr.reports.contact_sheet import GAP, TILE, TITLE_HEIGHT, captioned_grid


@pytest.fixture
def run(tmp_path: Path) -> runs.RunFolder:
    return runs.RunFolder(epath.Path(tmp_path), Config("evaluate").replace(image_size=8))


def kept(
    run: runs.RunFolder, scores: np.ndarray, labels: np.ndarray, levels: np.ndarray
) -> dict[str, np.ndarray]:
    """What is kept of images of one grey level each."""
    images = [tf.io.encode_png(np.full([8, 8, 3], level, np.uint8)).numpy() for level in levels]
    ids = [f"{level}.png" for level in levels]
    names = [f"class {number}" for number in range(scores.shape[1])]
    source = MemorySource("x", "test", "1", names, images=images, labels=labels, ids=ids)
    classified = Features(scores, labels, np.array(ids))
    predictions.keep(run, source, classified, scipy.special.softmax(scores, axis=1))
    with np.load(run.path / "predictions.npz") as stored:
        return dict(stored)


def test_probabilities_are_those_of_the_classifier(pretrained: Config) -> None:
    loaded = runs.load_run(pretrained.run.model_dir)
    batches = inputs.evaluation_batches(pretrained.data, inputs.eval_source(pretrained))
    expected = np.concatenate([tf.nn.softmax(loaded.logits(batch["image"])) for batch in batches])
    with np.load(folder_of(pretrained) / "predictions.npz") as stored:
        np.testing.assert_allclose(stored["probabilities"], expected, atol=1e-5)
        own = np.take_along_axis(stored["probabilities"], stored["best"], axis=1)
        np.testing.assert_array_equal(stored["probability"], own)
        assert stored["probability"].shape == (360, 5)
        assert stored["probability"].dtype == stored["probabilities"].dtype == np.float32
        np.testing.assert_array_equal(stored["best"][:, 0], stored["prediction"])


def test_the_report_shows_the_most_confident_mistakes(pretrained: Config) -> None:
    with np.load(folder_of(pretrained) / "predictions.npz") as stored:
        wrong = stored["prediction"] != stored["label"]
        surest = stored["id"][wrong][np.argmax(stored["probability"][wrong, 0])]
    page = (folder_of(pretrained) / "report.html").read_text()
    (section,) = (part for part in page.split("<section>") if "<h2>Most confident mistakes</h2>" in part)
    assert section.count("<tr>") == 1 + 20
    assert section.split("<td>")[1].startswith(f"{surest}<")
    assert "data:image/png;base64" in section


@pytest.mark.parametrize("classes", [3, 100, 101])
def test_a_file_holds_five_best_classes_and_all_where_they_are_few(run: runs.RunFolder, classes: int) -> None:
    scores = np.random.default_rng(0).normal(size=[4, classes]).astype(np.float32)
    stored = kept(run, scores, np.zeros(4, np.int64), np.arange(4))
    assert stored["best"].shape == stored["probability"].shape == (4, min(classes, 5))
    assert ("probabilities" in stored) == (classes <= 100)
    softmax = scipy.special.softmax(scores, axis=1)
    np.testing.assert_allclose(stored["probability"], -np.sort(-softmax, axis=1)[:, :5], rtol=1e-5)


def test_mistakes_are_drawn_the_surest_first_and_right_ones_are_not(run: runs.RunFolder) -> None:
    scores = np.array([[0, 1], [5, 0], [0, 9], [0, 3], [2, 0]], np.float32)
    kept(run, scores, np.array([0, 0, 1, 0, -1]), np.array([10, 60, 110, 160, 210]))
    sheet = np.asarray(Image.open(run.path / "mistakes.png").convert("L"))
    assert sheet.shape == (TILE + 2 * TITLE_HEIGHT, GAP + 2 * (TILE + GAP))
    middle = TITLE_HEIGHT + TILE // 2
    assert [sheet[middle, GAP + n * (TILE + GAP) + TILE // 2] for n in (0, 1)] == [160, 10]


def test_a_classifier_without_mistakes_leaves_no_picture(run: runs.RunFolder) -> None:
    scores = np.array([[0, 1]], np.float32)
    kept(run, scores, np.array([0]), np.array([10]))
    assert (run.path / "mistakes.png").exists()
    kept(run, scores, np.array([1]), np.array([10]))
    assert not (run.path / "mistakes.png").exists()


def test_a_large_split_is_not_read_again(run: runs.RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_READ_AGAIN", 1)
    kept(run, np.array([[0, 1], [0, 1]], np.float32), np.array([0, 0]), np.array([10, 20]))
    assert not (run.path / "mistakes.png").exists()


def test_a_sheet_of_any_images_and_names_is_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, [20, TILE, TILE, 3]).astype(np.uint8)
    names = ["$<b>&\n" * 9] * 20
    sheet = captioned_grid(noise, names, names)
    assert len(sheet) < 300_000
    assert Image.open(io.BytesIO(sheet)).size == (GAP + 5 * (TILE + GAP), 4 * (TILE + 2 * TITLE_HEIGHT))
