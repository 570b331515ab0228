"""Arrays written to any path, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from tf_simclr.files import write_npz

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
