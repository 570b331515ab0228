"""What users get wrong in evaluations: one line that names the flag or file, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import embed, evaluate, finetune, knn, linear_eval, transfer
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import UsageError
from tf_simclr.models import LinearClassifier
from tf_simclr.runs.loading import LoadedRun

LABELS = (("cat", 0), ("dog", 2))
TINY = "--image_size=8 --resnet_depth=18 --width_multiplier=0.125 --proj_out_dim=8 --train_steps=1".split()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and test of two classes, three images each, and an empty val."""
    root = tmp_path_factory.mktemp("images")
    picture = tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy()
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                (root / split / name / f"{number}.png").write_bytes(picture)
    (root / "val").mkdir()
    return root


@pytest.fixture
def mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail; gives its one line."""

    def run(command: ModuleType, *flags: str) -> str:
        tiny = [flag for flag in TINY if "optimization" in command.COMMAND.groups or "steps" not in flag]
        code = command.main([*tiny, f"--model_dir={tmp_path / 'run'}", *flags])
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith(f"{command.COMMAND.name}: ")]
        assert code == 2, error
        assert len(lines) == 1
        assert "Traceback" not in error
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("command", "flags", "named"),
    [
        (finetune, ["--label_fraction=0.003"], ["--label_fraction=0.003", "no example"]),
        (finetune, ["--labels_per_class=1000"], ["--labels_per_class=1000", "class"]),
        (finetune, ["--seeds=0,x"], ["--seeds=0,x"]),
        (finetune, ["--seeds=1,1"], ["--seeds=1,1"]),
        (finetune, ["--sweep", "--sweep_learning_rates=0.1,x"], ["--sweep_learning_rates=0.1,x"]),
        (finetune, ["--sweep", "--sweep_learning_rates=0"], ["--sweep_learning_rates"]),
        (finetune, ["--ft_proj_selector=9"], ["--ft_proj_selector=9", "2 layers"]),
        (linear_eval, ["--compare_with=/no/such"], ["--compare_with=/no/such", "predictions.npz"]),
        (linear_eval, ["--train_split=nosuch"], ["nosuch"]),
        (transfer, ["--datasets=digits,digits"], ["--datasets=digits,digits"]),
        (transfer, ["--datasets=digits,"], ["--datasets=digits,"]),
        (embed, ["--layer=7"], ["--layer=7"]),
        (embed, ["--layer=last"], ["--layer=last"]),
    ],
)
def test_on_digits(
    mistake: Callable[..., str], command: ModuleType, flags: list[str], named: list[str]
) -> None:
    line = mistake(command, "--dataset=digits", *flags)
    for words in named:
        assert words in line


def test_an_empty_split(mistake: Callable[..., str], images: Path) -> None:
    line = mistake(finetune, f"--dataset=folder:{images}", "--eval_split=val")
    assert "'val' is empty" in line


def test_a_csv_that_names_missing_files(mistake: Callable[..., str], images: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file,label\ntrain/cat/0.png,0\ntrain/cat/gone.png,1\n")
    line = mistake(finetune, f"--dataset=folder:{images}", f"--labels={tmp_path / 'l.csv'}")
    assert "l.csv" in line
    assert "train/cat/gone.png" in line


def test_labels_out_of_range(mistake: Callable[..., str], images: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file,label\ntrain/cat/0.png,0\ntrain/cat/1.png,-4\n")
    line = mistake(linear_eval, f"--dataset=folder:{images}", f"--labels={tmp_path / 'l.csv'}")
    assert "label -4 is out of range" in line


@pytest.mark.parametrize("command", [linear_eval, finetune])
def test_a_class_without_an_example(
    mistake: Callable[..., str], images: Path, tmp_path: Path, command: ModuleType
) -> None:
    rows = "".join(f"{split}/{name}/0.png,{label}\n" for split in ("train", "test") for name, label in LABELS)
    (tmp_path / "l.csv").write_text(f"file,label\n{rows}")
    line = mistake(command, f"--dataset=folder:{images}", f"--labels={tmp_path / 'l.csv'}")
    assert "split 'train': class '1' has no example" in line


def test_an_image_without_a_label_among_labelled_ones(mistake: Callable[..., str], tmp_path: Path) -> None:
    picture = tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy()
    for name in ("a", "b"):
        (tmp_path / "mixed" / "test" / name).mkdir(parents=True)
        (tmp_path / "mixed" / "train" / name).mkdir(parents=True)
        for split in ("train", "test"):
            (tmp_path / "mixed" / split / name / "0.png").write_bytes(picture)
    (tmp_path / "mixed" / "train" / "stray.png").write_bytes(picture)
    line = mistake(linear_eval, f"--dataset=folder:{tmp_path / 'mixed'}")
    assert "--train_split=train" in line
    assert "has no label" in line


def test_data_with_fewer_classes_than_the_classifier(
    images: Path, pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--checkpoint={pretrained.run.model_dir}", f"--dataset=folder:{images}"]
    assert evaluate.main([*flags, f"--model_dir={tmp_path / 'run'}"]) == 2
    assert "has 2 classes, the classifier of --checkpoint 10" in capsys.readouterr().err


def test_data_with_other_classes_than_the_classifier() -> None:
    classifier = LinearClassifier(2)

    def require(trained: list[str], found: list[str]) -> None:
        run = LoadedRun(Config("finetune"), {}, 1, None, None, classifier, 0, tuple(trained), None, None)
        run.require_classes(MemorySource("data", "test", "1", found, images=[b""], labels=[0], ids=["0"]))

    require(["cat", "dog"], ["cat", "dog"])
    require(["cat", "dog"], ["0", "1"])  # a CSV of numbers names no class
    with pytest.raises(UsageError, match="class 1 is 'cow', for the classifier of --checkpoint 'dog'"):
        require(["cat", "dog"], ["cat", "cow"])


def test_seeds_where_nothing_is_drawn(
    pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--checkpoint={pretrained.run.model_dir}", "--seeds=0,1", f"--model_dir={tmp_path / 'run'}"]
    assert knn.main(flags) == evaluate.main(flags) == 2
    assert "--seeds" in capsys.readouterr().err
