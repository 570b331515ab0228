"""Tables that were cut or damaged: rows come back from TensorBoard's logs, and cells are never blank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table

BATCH = 4096


def row(step: int) -> dict[str, float]:
    """As the reporter makes them: floats are of float32."""
    loss = float(np.float32(1.0) / np.float32(step))
    return {"step": step, "images": step * BATCH, "loss": loss, "accuracy": float(step == 3)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Rows of steps 3 to 9000 in metrics.csv and in logs/, where another table has been as well."""
    run = RunFolder(epath.Path(tmp_path), Config("pretrain").replace(model_dir=str(tmp_path)))
    table, writer = Table(run, "metrics.csv", 0), tf.summary.create_file_writer(str(run.logs))
    for step in (3, 6, 9000):  # more than one every 3000
        table.append(row(step))
        with writer.as_default(step):
            for name, value in {**row(step), "z_std": 1.0}.items():
                tf.summary.scalar(name, value)
    writer.flush()
    return run


def damage(path: Path, how: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    whole = {
        "cut in a row": b"".join(lines)[:-9],
        "cut in a number": b"".join(lines)[:-2],
        "cut after a row": b"".join(lines[:-1]),
        "a row of NULs": lines[0] + bytes(20) + b"\n" + lines[3],
        "a cell is missing": lines[0] + lines[1].rpartition(b",")[0] + b"\n" + lines[2] + lines[3],
        "a blank cell": lines[0] + lines[1].rpartition(b",")[0] + b",\n" + lines[2] + lines[3],
        "no UTF-8": lines[0] + b"\xff\xfe" + lines[1] + lines[2] + lines[3],
        "no header": b"".join(lines[1:]),
        "empty": b"",
        "all NULs": bytes(200),
    }
    path.write_bytes(whole[how])


KINDS = [
    "cut in a row",
    "cut in a number",
    "cut after a row",
    "a row of NULs",
    "a cell is missing",
    "a blank cell",
    "no UTF-8",
]


@pytest.mark.parametrize("how", [*KINDS, "no header", "empty", "all NULs"])
def test_damage_is_said_and_mended(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    path = tmp_path / "metrics.csv"
    before = path.read_text()
    damage(path, how)
    damaged = path.read_bytes()
    table = Table(run, "metrics.csv", 9000, every=3000)
    if how != "cut after a row":  # every line that is left is whole
        assert (tmp_path / "metrics.csv.damaged").read_bytes() == damaged
    assert "metrics.csv is damaged" in capsys.readouterr().err
    if how in KINDS:
        assert path.read_text() == before  # also of a run that has nothing left to train
    table.append(row(9003))
    assert path.read_text() == before + "9003,36876288,0.0001110741,0\n"


def test_a_file_that_is_gone_comes_back(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    before = path.read_text()
    path.unlink()
    Table(run, "metrics.csv", 9000).append(row(9003))
    assert path.read_text().startswith(before)


def test_rows_of_work_that_was_lost_stay_lost(run: RunFolder, tmp_path: Path) -> None:
    damage(tmp_path / "metrics.csv", "a row of NULs")
    table = Table(run, "metrics.csv", 6)
    table.append(row(7))
    assert [line["step"] for line in table.rows] == ["3", "6", "7"]


def test_logs_that_are_damaged_give_what_they_can(run: RunFolder, tmp_path: Path) -> None:
    (log,) = (tmp_path / "logs").glob("events.*")
    log.write_bytes(log.read_bytes()[:-120])
    damage(tmp_path / "metrics.csv", "cut in a row")
    table = Table(run, "metrics.csv", 9000)
    assert [line["step"] for line in table.rows] == ["3", "6"]
