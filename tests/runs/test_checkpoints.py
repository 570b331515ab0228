"""Checkpoints whose folder was tampered with, that are not finite, or that did not get onto the disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import Diverged, UsageError
from tf_simclr.files import out_of_space
from tf_simclr.runs import prefixes, verification
from tf_simclr.runs.checkpoints import Checkpoints

CONFIG = Config("pretrain")


def opened(folder: Path, keep: int = 2) -> tuple[Checkpoints, tf.Variable]:
    variable = tf.Variable(tf.zeros([1000]))
    return Checkpoints(epath.Path(folder), tf.train.Checkpoint(weights=variable), keep), variable


def saved(folder: Path, *steps: int) -> None:
    """A run's checkpoints; weights are the step."""
    kept, variable = opened(folder, keep=0)
    for step in steps:
        variable.assign(tf.fill([1000], float(step)))
        kept.save(step)


def steps_in(folder: Path) -> list[int]:
    return [prefixes.step_of(prefix) for prefix in prefixes.saved_in(epath.Path(folder))]


FOREIGN = 'model_checkpoint_path: "{0}/other/ckpt-1"\nall_model_checkpoint_paths: "{0}/other/ckpt-1"\n'


@pytest.mark.parametrize("state", [None, b"", b"\xff\x00\x01", b"nonsense {", FOREIGN])
def test_the_newest_is_what_the_listing_says(tmp_path: Path, state: bytes | str | None) -> None:
    """And no checkpoint of another run is ever deleted."""
    run = tmp_path / "run"
    saved(run, 2, 10)
    saved(tmp_path / "other", 1)
    path = run / "checkpoint"
    path.unlink()
    if state is not None:
        path.write_bytes(state if isinstance(state, bytes) else state.format(tmp_path).encode())
    kept, variable = opened(run)
    assert kept.restore_newest(CONFIG) == 10
    np.testing.assert_array_equal(variable, np.full(1000, 10.0, np.float32))
    kept.save(11)
    assert steps_in(run) == [10, 11]
    assert steps_in(tmp_path / "other") == [1]
    assert tf.train.latest_checkpoint(str(run)) == str(run / "ckpt-11")


def test_a_bad_one_beyond_the_restored_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, 1, 2, 9)
    data = tmp_path / "ckpt-9.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    kept, _ = opened(tmp_path)
    assert kept.restore_newest(CONFIG) == 2
    assert "ckpt-9 cannot be used, trying an older one" in capsys.readouterr().err
    kept.save(3)
    assert steps_in(tmp_path) == [2, 3]


def test_one_that_is_not_finite_is_neither_kept_nor_restored(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    kept, variable = opened(tmp_path, keep=1)
    assert kept.restore_newest(CONFIG) == 1
    variable[3].assign(np.inf)
    with pytest.raises(
        Diverged, match=r"ckpt-2 would hold numbers that are not finite in 1 variables.*weights"
    ):
        kept.save(2)
    assert steps_in(tmp_path) == [1]
    tf.train.Checkpoint(model=tf.train.Checkpoint(weights=variable)).write(str(tmp_path / "ckpt-2"))  # of old
    assert opened(tmp_path)[0].restore_newest(CONFIG) == 1


def test_one_that_the_disk_garbles_is_found_before_older_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1)
    kept, _ = opened(tmp_path, keep=1)

    def garbled(prefix: str) -> None:
        data = Path(f"{prefix}.data-00000-of-00001")
        content = bytearray(data.read_bytes())
        content[len(content) // 2] = 0x7F
        data.write_bytes(content)
        good(prefix)

    good = verification.require_good
    monkeypatch.setattr(verification, "require_good", garbled)
    with pytest.raises(UsageError, match="ckpt-2 cannot be read"):
        kept.save(2)
    monkeypatch.undo()
    assert steps_in(tmp_path) == [1]
    assert opened(tmp_path)[0].restore_newest(CONFIG) == 1


def test_nothing_good_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / "ckpt-1.index").write_bytes(b"")
    with pytest.raises(UsageError, match="no checkpoint here can be used"):
        opened(tmp_path)[0].restore_newest(CONFIG)


def test_litter_of_a_killed_process_is_cleaned(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    whole = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "ckpt-2_temp").mkdir()
    (tmp_path / "ckpt-2_temp" / "part-00000-of-00001.data-00000-of-00001").touch()
    for name in ("ckpt-2.data-00000-of-00001", "checkpoint.tmp77", ".checkpoint.ab.partial"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    opened(tmp_path)[0].restore_newest(CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == {*whole, "notes.txt"}


def test_a_worker_that_is_not_the_chief_leaves_the_folder_alone(tmp_path: Path) -> None:
    saved(tmp_path / "run", 1)
    (tmp_path / "run" / "ckpt-2_temp").mkdir()
    variable = tf.Variable(tf.zeros([1000]))
    model = tf.train.Checkpoint(weights=variable)
    kept = Checkpoints(epath.Path(tmp_path / "run"), model, 5, save_to=epath.Path(tmp_path / "own"))
    assert kept.restore_newest(CONFIG) == 1
    kept.save(2)
    assert (tmp_path / "run" / "ckpt-2_temp").exists()
    assert (steps_in(tmp_path / "run"), steps_in(tmp_path / "own")) == ([1], [2])


def test_a_disk_that_is_full_leaves_the_last_one_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a file's size stands for the disk: the kernel refuses what is beyond."""
    resource = pytest.importorskip("resource")
    saved(tmp_path, 1)
    kept, _ = opened(tmp_path, keep=1)
    assert kept.restore_newest(CONFIG) == 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(tf.errors.OpError) as error:
            kept.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out_of_space(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint",
        "ckpt-1.index",
        "ckpt-1.data-00000-of-00001",
    }
    kept.save(2)  # space was made
    assert steps_in(tmp_path) == [2]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (tf.errors.ResourceExhaustedError(None, None, "/a/b; No space left on device"), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), False),
    ],
)
def test_what_a_full_disk_says(error: Any, full: bool) -> None:
    assert out_of_space(error) == full
