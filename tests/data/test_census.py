"""What a folder is said to hold, and what of it is left out and why."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tensorflow as tf

from tests.data.pictures import encoded, picture, write
from tests.small_runs import Make
from tf_simclr import inputs, training
from tf_simclr.data import open_source
from tf_simclr.errors import EmptySplit
from tf_simclr.pretrain import COMMAND
from tf_simclr.runs import RunFolder


def _folder(root: Path, *names: str) -> str:
    return write(root, dict.fromkeys(names, b"\x89PNG\r\n\x1a\n"))


def _lines(dataset: str, split: str = "train", labels_csv: str = "") -> list[str]:
    census = open_source(dataset, split, labels_csv=labels_csv).census
    assert census is not None
    return list(census.lines(split))


def test_types_and_classes_are_counted(tmp_path: Path) -> None:
    names = ["b/1.jpg", "b/2.JPEG", "a/3.png", "a/x/4.jpg", "c/5.webp", "c/6.tif", "c/7.tiff"]
    assert _lines(_folder(tmp_path, *names)) == [
        "train holds 3 jpeg, 2 tiff, 1 png, 1 webp; classes from folders: a, b, c"
    ]
    assert _lines(_folder(tmp_path / "a")) == [
        "train holds 1 jpeg, 1 png; classes from folders: x",
        *_beside(1),
    ]


def _beside(count: int) -> list[str]:
    return [f"{count} images beside the class folders have no label"]


def test_what_is_left_out_is_said_with_its_reason(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.heic", "a/3.HEIC", "b/x/4.svg", "b/x/5.png", "notes.txt", "a/jpg", "a/Makefile"]
    names += ["a/film.mp4", ".DS_Store", "a/.hidden.png", "b/x/y/6.png", "b/x/y/z/7.png", "empty/text.md"]
    holds, leaves = _lines(_folder(tmp_path, *names))
    assert holds == "train holds 1 jpeg, 1 png; classes from folders: a, b, empty"
    assert leaves.removeprefix("train leaves out ").split("; ") == [
        "2 .heic (no decoder)",
        "1 .svg (no decoder)",
        "5 without an image's extension (notes.txt, a/Makefile, a/film.mp4, ...)",
        "2 hidden",
        "1 folder without an image (empty)",
        "1 folder more than one level below a class (b/x/y)",
    ]


def test_a_split_is_told_apart_from_the_others(tmp_path: Path) -> None:
    dataset = _folder(
        tmp_path, "train/a/1.png", "train/a/x.heic", "test/a/2.jpg", "test/b/y.txt", "test/a/.z"
    )
    assert _lines(dataset) == [
        "train holds 1 png; classes from folders: a, b",
        "train leaves out 1 .heic (no decoder)",
    ]
    assert _lines(dataset, "test") == [
        "test holds 1 jpeg; classes from folders: a, b",
        "test leaves out 1 without an image's extension (test/b/y.txt); 1 hidden; "
        "1 folder without an image (test/b)",
    ]
    assert _lines(dataset, "train+test")[0] == "train+test holds 1 jpeg, 1 png; classes from folders: a, b"


def test_folders_named_as_splits_that_are_none_are_pointed_out(tmp_path: Path) -> None:
    dataset = _folder(tmp_path, "train/1.png", "test/2.png", "cover.jpg")
    assert _lines(dataset)[1:] == [
        "test, train: a class each, no split, since cover.jpg lies beside",
        *_beside(1),
    ]


def test_a_csv_says_which_images_count(tmp_path: Path) -> None:
    dataset = _folder(tmp_path / "images", "1.png", "2.png", "3.webp", "4.jpg", "x/5.jpg")
    labels = tmp_path / "labels.csv"
    labels.write_text("1.png,cat\n3.webp,dog\n")
    assert _lines(dataset, labels_csv=str(labels)) == [
        f"train holds 1 png, 1 webp; classes from {labels}: cat, dog",
        f"train leaves out 3 without a row in {labels} (2.png, 4.jpg, x/5.jpg)",
    ]


def test_where_nothing_else_lies_the_error_says_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(EmptySplit, match=r"there are no images jpg/.*, but 2 \.heic \(no decoder\)$"):
        open_source(_folder(tmp_path, "1.heic", "2.HEIC"), "train")


def test_many_classes_are_cut_short(tmp_path: Path) -> None:
    (line,) = _lines(_folder(tmp_path, *(f"c{number}/1.png" for number in range(8))))
    assert line.endswith("classes from folders: c0, c1, c2, c3, c4, c5, ...")


def test_folders_are_listed_once_and_images_not_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = _folder(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "test") for name in "ab"))
    listed, asked = [], []
    listdir, isdir = os.listdir, tf.io.gfile.isdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: asked.append(path) or isdir(path))
    open_source(dataset, "test")
    assert len(set(listed)) == len(listed) == 5
    assert not [path for path in asked if path.endswith(".png")]


def test_other_data_sets_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source("digits", "test")
    assert source.census is None
    training.print_census(source)
    assert capsys.readouterr().out == ""


def test_data_json_holds_it_and_a_note_beside_the_images_changes_no_run(tiny: Make, tmp_path: Path) -> None:
    config = tiny(dataset=_folder(tmp_path, "a/1.png", "a/2.heic"))
    run = RunFolder.open(config, COMMAND)
    run.write_data(inputs.train_source(config))
    run.checkpoints.mkdir()
    (tmp_path / "notes.txt").write_text("new")
    run.write_data(inputs.train_source(config))
    held = json.loads((run.path / "data.json").read_text())["census"]
    assert held["images"] == {"png": 1}
    assert held["classes_from"] == "folders"
    assert [(reason["count"], reason["what"]) for reason in held["left_out"]] == [
        (1, ".heic (no decoder)"),
        (1, "without an image's extension"),
    ]


def test_turned_images_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {f"{o}.jpg": encoded(picture(6, 5), "JPEG", o) for o in (1, 3, 6)}
    dataset = write(tmp_path, {**files, "broken.jpg": b"\xff\xd8\xff"})
    training.print_census(open_source(dataset, "train").subset(range(3)))
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "  train holds 4 jpeg"
    assert out[1].startswith("  warning: 2 of 3 images looked at are stored turned")
    training.print_census(open_source(dataset, "train", exif="apply"))
    assert "turned" not in capsys.readouterr().out
