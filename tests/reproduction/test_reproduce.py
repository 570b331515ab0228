"""`reproduce` end to end: processes a row, kills, failures, estimates."""

from __future__ import annotations

import importlib
import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.processes import finish, start
from tests.reproduction.sets import ROWS, cells, write_set
from tf_simclr.reproduction import store


def reproduce(table: Path, runs: Path, *more: str) -> list[str]:
    return ["-m", "tf_simclr.reproduce", f"--table={table}", f"--model_dir={runs}", *more]


def wait_for(path: Path, pattern: str) -> None:
    for _ in range(1200):
        if any(path.glob(pattern)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in {path}")


def processes_of(runs: Path) -> list[str]:
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [words] if str(runs) in words else []
    return found


@pytest.mark.slow
def test_a_killed_table_goes_on_and_ends_as_the_commands_alone(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = start(reproduce(table, runs))
        wait_for(runs, "*/checkpoints")
        process.send_signal(number)
        assert process.wait() == code
        for _ in range(600):
            if not processes_of(runs):
                break
            time.sleep(0.1)
        assert not processes_of(runs), "a row outlives the table"
    said = finish(start(reproduce(table, runs, "--workers=2")))
    assert "2 runs to go, 2 at a time" in said
    assert len(list(runs.glob("pretrain-*"))) == 2, "rows of the same flags share their pretraining"
    found = {path.name: json.loads(path.read_text()) for path in (runs / "results" / "tab").iterdir()}
    assert found.keys() == {"low-seed0.json", "high-seed0.json", "knn-seed0.json"}
    assert "Temperature a tenth" in (runs / "tab.md").read_text()

    alone = tmp_path / "alone"
    cell = next(cell for cell in cells(table) if cell.row.name == "low")
    for place in range(2):
        name, *words = cell.arguments(place, str(alone))
        assert importlib.import_module(f"tf_simclr.{name}").main(words) == 0
    assert store.keep(str(alone / "results"), cell, str(alone)) == found["low-seed0.json"]["figure"]

    before = {path: path.stat().st_mtime_ns for path in runs.rglob("result.json")}
    said = finish(start(reproduce(table, runs)))
    assert "to go" not in said
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("result.json")} == before


@pytest.mark.slow
def test_a_row_that_fails_is_one_line_and_the_others_are_kept(tmp_path: Path) -> None:
    rows = {"low": ROWS["low"], "zero": "# None.\n"}
    table, runs = write_set(tmp_path / "set", rows), tmp_path / "runs"
    with (table / "zero.cfg").open("a") as file:
        file.write("--augmentations=nonsense\n")
    said = finish(start(reproduce(table, runs)), code=2)
    assert (runs / "results" / "tab" / "low-seed0.json").exists()
    last = said.strip().splitlines()[-1]
    assert re.match(
        r"reproduce: 1 of 2 runs failed, the first: tab/zero, seed 0: pretrain: --augmentations", last
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_dry_run_plans_and_leaves_nothing(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set", {"low": ROWS["low"]}), tmp_path / "runs"
    said = finish(start(reproduce(table, runs, "--dry_run", "--seeds=0,1", "--row_flags=--train_steps=2000")))
    assert "2 rows and seeds, 0 finished, 2 runs to go" in said
    minutes = [float(text) for text in re.findall(r"about ([\d.]+) minutes", said)]
    assert len(minutes) == 2
    assert minutes[0] == minutes[1] > 0.3
    assert not runs.exists()
