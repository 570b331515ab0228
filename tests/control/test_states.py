"""states.csv: which numbers belong to which image, and what is wrong with a file in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tf_simclr.control import states
from tf_simclr.errors import UsageError

GOOD = "file,episode,step,x,v\ntrain/a.png,train_0,2,0.5,-1e-3\ntest/b.png,test_0,2,1,2\n"


def written(folder: Path, text: str) -> str:
    (folder / "states.csv").write_text(text)
    return states.path_of("", f"folder:{folder}")


def test_states_come_in_the_order_of_the_files_asked_for(tmp_path: Path) -> None:
    table = states.read(written(tmp_path, GOOD))
    assert table.names == ("x", "v")
    np.testing.assert_array_equal(table.of(["test/b.png", "train/a.png"]), [[1, 2], [0.5, -1e-3]])
    assert states.path_of("my.csv", "digits") == "my.csv"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("file,episode\na,1\n", "has no rows of file and numbers"),
        ("name,x\na,1\n", "has no rows of file and numbers"),
        ("file,x\na,one\n", "the row of 'a' is not of finite numbers"),
        ("file,x\na,nan\n", "the row of 'a' is not of finite numbers"),
        ("file,x,y\na,1\n", "the row of 'a' is not of finite numbers"),
    ],
)
def test_a_bad_file_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--states={tmp_path}/states.csv: {words}") as error:
        states.read(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--states=/no/such\.csv: cannot be read"):
        states.read("/no/such.csv")
    with pytest.raises(UsageError, match="--states is required: --dataset=digits"):
        states.path_of("", "digits")
    with pytest.raises(UsageError, match=r"has no row for 'train/c\.png'"):
        states.read(written(tmp_path, GOOD)).of(["train/c.png"])
