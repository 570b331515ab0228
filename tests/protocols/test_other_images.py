"""Oblong and grey images through the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.small_runs import Make, folder_of, result_of, rows_of, write_images
from tf_simclr import (
    cli,
    distill,
    embed,
    evaluate,
    finetune,
    import_official,
    knn,
    label_efficiency,
    linear_eval,
    predict,
    pretrain,
    search,
    transfer,
)
from tf_simclr.checks import sizes
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.protocols import preview
from tf_simclr.reports import plots
from tf_simclr.reports.contact_sheet import save_contact_sheet

GREY: dict[str, Any] = {"image_size": "8x12", "channels": 1, "color_jitter_strength": 0.0}
ROOT = Path(__file__).resolve().parents[2]


def test_colour_distortion_of_grey_images_is_refused_before_there_is_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = [
        "--dataset=digits",
        "--image_size=8",
        "--channels=1",
        "--resnet_depth=18",
        f"--model_dir={run}",
    ]
    for more in ([], ["--augmentations=blur|color"]):
        assert pretrain.main([*arguments, *more]) == cli.USAGE_ERROR
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "channels of the images are 1: give --color_jitter_strength=0" in line
    assert not run.exists()


def test_a_preview_shows_grey_images_and_oblong_views(tiny: Make, tmp_path: Path) -> None:
    preview.preview_views(tiny(preview_views=str(tmp_path / "views.png"), **GREY))
    sheet = np.asarray(Image.open(tmp_path / "views.png")).astype(int)
    assert sheet.ndim == 3
    assert np.ptp(sheet, axis=2).max() <= 4  # nothing but grey
    assert sheet.std() > 20


def test_pictures_take_grey_images(tmp_path: Path) -> None:
    image = np.tile(np.linspace(0, 1, 12, dtype=np.float32)[:, None], [8, 1, 1])
    save_contact_sheet([image], np.stack([[image]]), tmp_path / "grey.png")
    save_contact_sheet([image.repeat(3, 2)], np.stack([[image.repeat(3, 2)]]), tmp_path / "rgb.png")
    assert (tmp_path / "grey.png").read_bytes() == (tmp_path / "rgb.png").read_bytes()
    grids = [
        plots.neighbour_grid(one[None], one[None, None], ["a"], [["b"]])
        for one in (image, image.repeat(3, 2))
    ]
    grey, rgb = (tf.cast(tf.io.decode_png(grid), tf.int32) for grid in grids)
    np.testing.assert_allclose(grey, rgb, atol=1)


def test_sizes_are_of_the_shape_and_the_channels() -> None:
    def of(**changes: Any) -> sizes.Sizes:
        small = {"resnet_depth": 18, "width_multiplier": 0.125, "train_batch_size": 4, "stem": "cifar"}
        return sizes.of(Config("doctor").replace(**small, **changes), 1)

    square, oblong, grey = of(image_size=16), of(image_size="16x32"), of(image_size=16, channels=1)
    assert oblong.views == 2 * square.views == 6 * grey.views
    assert oblong.activations == pytest.approx(2 * square.activations, rel=0.05)
    assert square.parameters - grey.parameters == 3 * 3 * 2 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1}, "--channels=1: the authors' models take RGB"),
        ({"image_size": "96x160"}, "--image_size=96x160: the authors' models are of square images"),
    ],
)
def test_the_authors_models_take_square_rgb_images(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        import_official.complete(Config("import_official").replace(**options), None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def grey_run(tiny: Make, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A tiny pretraining on grey oblong views of a folder, from a cache."""
    folder = tmp_path_factory.mktemp("photos")
    write_images(folder, {"train": 8, "test": 4})
    config = tiny(dataset=f"folder:{folder}", train_batch_size=16, cache_dataset=True, probe_epochs=3, **GREY)
    pretrain.pretrain(config)
    return config


@pytest.fixture(scope="module")
def grey_tuned(grey_run: Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run folder of its fine-tuning, whose command line names neither shape nor channels."""
    folder = str(tmp_path_factory.mktemp("tuned"))
    options = [f"--dataset={grey_run.data.dataset}", "--train_steps=2", "--train_batch_size=16"]
    assert finetune.main([f"--checkpoint={grey_run.run.model_dir}", f"--model_dir={folder}", *options]) == 0
    return folder


@pytest.mark.slow
def test_every_command_takes_the_runs_shape_and_channels(
    grey_run: Config, grey_tuned: str, tmp_path: Path
) -> None:
    """The real command lines, which name neither."""
    folder, dataset = grey_run.run.model_dir, f"--dataset={grey_run.data.dataset}"
    train = ["--train_steps=2", "--train_batch_size=16"]
    commands: dict[Any, list[str]] = {
        linear_eval: train,
        knn: [],
        embed: ["--eval_split=test"],
        transfer: [],
        search: ["--clusters=2"],
        label_efficiency: ["--draws_labels_per_class=1", "--num_draws=2", "--num_scratch_draws=1", *train],
    }
    for module, arguments in commands.items():
        run = tmp_path / module.COMMAND.name
        assert module.main([f"--checkpoint={folder}", dataset, f"--model_dir={run}", *arguments]) == 0
        wanted = json.loads((run / "config.json").read_text())["data"]
        assert (wanted["image_size"], wanted["channels"]) == ("8x12", 1)
    assert evaluate.main([f"--checkpoint={grey_tuned}", f"--model_dir={tmp_path / 'evaluate'}"]) == 0
    student = ["--train_steps=2", "--train_batch_size=16", f"--model_dir={tmp_path / 'student'}"]
    assert distill.main([f"--teacher={grey_tuned}", dataset, *student, "--resnet_depth=18"]) == 0
    assert distill.main([f"--teacher={grey_tuned}", dataset, *student, "--channels=3"]) == cli.USAGE_ERROR


@pytest.mark.slow
def test_a_grey_run_is_exported_with_its_shape(grey_run: Config, grey_tuned: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", f"--checkpoint={grey_tuned}"]
    subprocess.run(
        [*command, f"--output_dir={tmp_path}", "--format=saved_model,tflite"], cwd=ROOT, check=True
    )
    export = tmp_path / "encoder" / "2"
    facts = json.loads((export / "export.json").read_text())
    assert (facts["image_size"], facts["channels"]) == ("8x12", 1)
    card = (export / "README.md").read_text()
    assert "images [b, h, w, 1] float32 grey in [0, 1]" in card
    assert "8x12 px, grey" in card
    model = tf.saved_model.load(str(export))
    pixels = np.random.default_rng(0).integers(0, 256, [8, 12, 3]).astype(np.uint8)
    encoded = tf.io.encode_png(pixels)
    grey = tf.cast(tf.image.rgb_to_grayscale(pixels), tf.float32) / 255.0
    np.testing.assert_allclose(
        model.signatures["serving_bytes"](image_bytes=encoded[None])["default"], model(grey[None]), atol=1e-5
    )
    written = []
    for source in (f"--checkpoint={grey_tuned}", f"--export={tmp_path}"):
        path = tmp_path / f"{len(written)}.csv"
        assert predict.main([source, f"--dataset={grey_run.data.dataset}", f"--output={path}"]) == 0
        written.append([(row["file"], float(row["probability"])) for row in rows_of(path)])
    assert [file for file, _ in written[0]] == [file for file, _ in written[1]]
    np.testing.assert_allclose(*([share for _, share in rows] for rows in written), atol=1e-4)


@pytest.mark.slow
def test_a_grey_runs_result_and_pictures_are_whole(grey_run: Config) -> None:
    assert {"views.png", "report.html", "probe.csv"} <= {file.name for file in folder_of(grey_run).iterdir()}
    assert result_of(grey_run)["num_eval_examples"] == 8
