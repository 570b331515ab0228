"""Captions of images: from a CSV, from the names of classes, and every mistake in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import write_images
from tf_simclr import data
from tf_simclr.data import Source, captions
from tf_simclr.errors import UsageError

FILES = [f"dark/{number}.png" for number in range(3)] + [f"light/{number}.png" for number in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root, {"train": 3, "test": 1})
    (root / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="module")
def source(folder: Path) -> Source:
    return data.open_source(f"folder:{folder}", "train", "")


def table(folder: Path, rows: list[str], header: str = "file,caption") -> str:
    path = folder / "captions.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return str(path)


def texts_of(found: captions.Captions, image: int) -> list[str]:
    start = int(found.counts[:image].sum())
    return [found.texts[row] for row in found.rows[start : start + found.counts[image]]]


def test_a_csv_gives_each_image_its_captions(folder: Path, source: Source, tmp_path: Path) -> None:
    rows = [f"train/{file},what {number} is" for number, file in enumerate(FILES)]
    rows += ['train/dark/1.png,"another, with a comma"', "test/dark/0.png,of another split"]
    rows[0] = f"{folder}/{rows[0]}"
    found = captions.of_csv(table(tmp_path, rows), source)
    names = source.names()
    for number, file in enumerate(FILES):
        own = texts_of(found, names.index(f"train/{file}"))
        assert own == [f"what {number} is"] + ["another, with a comma"] * (number == 1)
    assert "of another split" not in found.texts


BAD = {
    "no such file": (None, "there is no such file"),
    "a column": (["x,y"], "has no column 'caption'"),
    "no rows": ([], "there are no rows"),
    "an empty caption": (["train/dark/0.png, "], "has no caption"),
    "no image of the folder": (["train/dark/99.png,a"], "'train/dark/99.png', which is no image"),
    "a file that is no image": (["notes.txt,a"], "'notes.txt', which is no image"),
    "an image without": (["train/dark/0.png,a"], "has no row for 'train/dark/1.png'"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_csv_that_does_not_fit_is_one_line(what: str, source: Source, tmp_path: Path) -> None:
    rows, message = BAD[what]
    header = "file,title" if what == "a column" else "file,caption"
    path = str(tmp_path / "none.csv") if rows is None else table(tmp_path, rows, header)
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        captions.of_csv(path, source)
    assert str(error.value).startswith("--captions=")
    assert "\n" not in str(error.value)


def test_a_csv_is_for_folders() -> None:
    with pytest.raises(UsageError, match="goes with --dataset=folder:PATH"):
        captions.of_csv("captions.csv", data.open_source("digits", "train", ""))


def test_classes_are_called_by_every_template(source: Source) -> None:
    found = captions.of_classes(source, "a {} room | {}")
    for image, label in enumerate(source.labels()):
        name = source.class_names[label]
        assert texts_of(found, image) == [f"a {name} room", name]
    assert found.meanings is not None
    np.testing.assert_array_equal(found.meanings, [0, 0, 1, 1])


def test_underscores_of_a_name_are_spaces() -> None:
    assert captions.filled("a {}.|{}", "tree_frog") == ["a tree frog.", "tree frog"]


def test_images_without_a_class_have_no_name(tmp_path: Path) -> None:
    write_images(tmp_path, {"train": 1})
    (tmp_path / "train" / "bare.png").write_bytes((tmp_path / "train" / "dark" / "0.png").read_bytes())
    bare = data.open_source(f"folder:{tmp_path}", "train", "")
    with pytest.raises(UsageError, match="has no class to be called by"):
        captions.of_classes(bare, "a {}")
