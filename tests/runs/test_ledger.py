"""What a run has recorded of itself: lost checkpoints, steps left out, flags that were mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.runs import ledger
from tf_simclr.runs.ledger import Ledger

STOPPED = {"step": 7, "part": "loss"}


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    (tmp_path / "checkpoints").mkdir()
    return epath.Path(tmp_path)


def require(folder: epath.Path) -> None:
    ledger.require_checkpoint(folder, folder / "checkpoints")


def test_saved_steps_without_a_checkpoint_are_refused(folder: epath.Path) -> None:
    require(folder)
    ledger.write(folder, Ledger())
    (folder / "metrics.csv").write_text("step,loss\n3,1.5\n")
    require(folder)  # stopped before the first checkpoint
    ledger.write(folder, Ledger().saved(6, 0))
    with pytest.raises(UsageError, match=r"step 6 was saved \(ledger.json\), but no checkpoint is left"):
        require(folder)
    (folder / "checkpoints" / "ckpt-3.index").touch()
    require(folder)


@pytest.mark.parametrize("name", ["metrics.csv", "timing.json"])
def test_so_are_those_of_before_there_was_a_ledger(folder: epath.Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(UsageError, match=rf"steps are recorded \({name}\)"):
        require(folder)


def test_it_is_read_as_it_was_written(folder: epath.Path) -> None:
    assert ledger.read(folder) is None
    written = Ledger(6, ((3, 1), (6, 2)), STOPPED, ({"from_step": 3},))
    ledger.write(folder, written)
    assert ledger.read(folder) == written
    (folder / ledger.NAME).write_text("{")
    with pytest.raises(UsageError, match=r"ledger.json is damaged"):
        ledger.read(folder)


def test_steps_left_out_are_those_until_a_checkpoint() -> None:
    content = Ledger().saved(3, 0).saved(6, 1).saved(9, 1).saved(12, 4)
    assert [content.skipped_until(step) for step in (3, 6, 9, 12)] == [0, 1, 1, 4]
    again = content.saved(9, 2)  # goes on from 6, whose later steps broke otherwise
    assert [again.skipped_until(step) for step in (6, 9)] == [1, 2]
    assert again.saved_step == 9


def test_a_stop_is_forgotten_beyond_its_step() -> None:
    content = Ledger(6, stopped=STOPPED)
    assert content.saved(6, 0).stopped == STOPPED
    assert content.saved(7, 0).stopped is None


def test_the_rate_may_be_mended_after_a_stop_alone(folder: epath.Path) -> None:
    found = Config("pretrain").replace(learning_rate=9.0)
    asked = found.replace(learning_rate=0.1, temperature=0.5)
    ledger.write(folder, Ledger(6))
    assert ledger.flags_as_found(asked, found, folder) == asked
    ledger.write(folder, Ledger(6, stopped=STOPPED))
    assert ledger.flags_as_found(asked, found, folder) == found.replace(temperature=0.5)
    assert Ledger(6).mended(6, asked, found).changes == ()
    (change,) = Ledger(6, stopped=STOPPED).mended(6, asked, found).changes
    assert change == {
        "from_step": 6,
        "option": "learning_rate",
        "was": 9.0,
        "is": 0.1,
        "stopped_at": 7,
        "part": "loss",
    }
