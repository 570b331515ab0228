"""Files written to any path, whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.files import require_writable, write_csv, write_npz, write_whole, writing

ARRAYS = {"numbers": np.arange(5), "names": np.array(["a", "bc"]), "none": np.zeros([0, 3])}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("remote", [False, True])
def test_what_is_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool, compress: bool
) -> None:
    """A remote path is opened by TensorFlow, whose files know no seeking while they are written."""
    path = epath.Path(tmp_path / "a.npz")
    with monkeypatch.context() as patch:
        if remote:
            patch.setattr(type(path), "open", lambda self, mode: tf.io.gfile.GFile(str(self), mode))
        write_npz(path, compress=compress, **ARRAYS)
    with np.load(str(path)) as stored:
        assert set(stored) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(stored[name], array)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("remote", [False, True])
def test_a_table_is_read_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    path = epath.Path(tmp_path / "a.csv")
    rows = [["a,b", "1"], ['"é"', "line\nbreak"], ["<img src=x>", ""]]
    with monkeypatch.context() as patch:
        if remote:
            patch.setattr(type(path), "open", lambda self, mode: tf.io.gfile.GFile(str(self), mode))
        write_csv(path, ["file", "label"], iter(rows))
    with open(path, encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["file", "label"], *rows]
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(("content", "stored"), [("é\n", "é\n".encode()), (b"\r\n\xff", b"\r\n\xff")])
def test_text_and_bytes_are_written_as_they_are(tmp_path: Path, content: str | bytes, stored: bytes) -> None:
    for _ in range(2):
        write_whole(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == stored
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_two_who_write_the_same_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writes and finishes while the first is about to put its file in place."""
    replace = os.replace

    def after_another(old: str, new: str) -> None:
        monkeypatch.undo()
        write_whole(tmp_path / "a", "second")
        replace(old, new)

    monkeypatch.setattr(os, "replace", after_another)
    write_whole(tmp_path / "a", "first")
    assert (tmp_path / "a").read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the half zip's own end
def test_a_file_that_could_not_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    class Broken:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise OSError("no space left")

    path = epath.Path(tmp_path / "a.npz")
    write_npz(path, **ARRAYS)
    with pytest.raises(OSError, match="no space left"):
        write_npz(path, numbers=np.arange(3), broken=Broken())  # type: ignore[arg-type]
    with np.load(str(path)) as stored:
        assert set(stored) == set(ARRAYS)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [(errno.EACCES, UsageError, "--output=x: cannot be written"), (errno.ENOSPC, Interrupted, "no space")],
)
def test_what_cannot_be_written_is_a_mistake_and_a_full_disk_an_interruption(
    number: int, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words), writing("--output=x"):
        raise OSError(number, os.strerror(number))


def test_finding_out_leaves_the_folder_and_nothing_in_it(tmp_path: Path) -> None:
    require_writable("--output=x", epath.Path(tmp_path / "a" / "b"))
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--output=x: cannot be written"):
        require_writable("--output=x", epath.Path(tmp_path / "file" / "b"))
