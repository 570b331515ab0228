"""Mistakes through the real commands: one line that names the flag or file, exit code 2, no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tf_simclr.config import Config

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--image_size=8",
    "--resnet_depth=18",
    "--width_multiplier=0.125",
    "--train_batch_size=2",
    "--train_steps=1",
]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def assert_mistake(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = re.findall(r"\b(?:pretrain|knn|predict): .*", done.stderr)
    for word in words:
        assert word in line


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, [12, 12, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=folder:/no/such/folder"], ["/no/such/folder"]),
        (["--dataset=no_such_data_set"], ["no_such_data_set"]),
        (["--dataset=digits", "--train_split=nothing"], ["nothing", "available"]),
        (["--dataset=digits", "--labels=x.csv"], ["--labels"]),
    ],
)
def test_data_that_is_not_there(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    assert_mistake(run("tf_simclr.pretrain", *SMALL, *arguments, f"--model_dir={tmp_path / 'run'}"), *words)


def test_a_broken_image_is_named(photos: Path, tmp_path: Path) -> None:
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:60])
    done = run("tf_simclr.pretrain", *SMALL, f"--dataset=folder:{photos}", f"--model_dir={tmp_path / 'run'}")
    assert_mistake(done, "2.png", "can't be decoded")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    stored = Config("pretrain").replace(resnet_depth=18, image_size=8)
    (tmp_path / "config.json").write_text(stored.to_json())
    done = run(
        "tf_simclr.knn", f"--checkpoint={tmp_path}", "--resnet_depth=50", f"--model_dir={tmp_path / 'out'}"
    )
    assert_mistake(done, "resnet_depth=18", "resnet_depth=50")
    assert not (tmp_path / "out").exists()


def test_a_run_folder_without_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        Config("pretrain").replace(dataset="digits", image_size=8).to_json()
    )
    done = run("tf_simclr.knn", f"--checkpoint={tmp_path}", f"--model_dir={tmp_path / 'out'}")
    assert_mistake(done, str(tmp_path), "no checkpoint yet")


def test_predictions_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        Config("pretrain").replace(dataset="digits", image_size=8).to_json()
    )
    output = tmp_path / "none" / "predictions.csv"
    done = run("tf_simclr.predict", f"--checkpoint={tmp_path}", f"--output={output}")
    assert_mistake(done, f"--output={output}", "cannot be written")
    assert not output.parent.exists()


def test_predictions_of_a_run_or_of_an_export_are_asked_for_by_name(tmp_path: Path) -> None:
    done = run("tf_simclr.predict", "--dataset=digits", f"--checkpoint={tmp_path}", f"--export={tmp_path}")
    assert_mistake(done, "--checkpoint", "--export")
    done = run("tf_simclr.predict", "--dataset=digits", f"--export={tmp_path}")
    assert_mistake(done, f"--export={tmp_path}", "no exported classifier")
