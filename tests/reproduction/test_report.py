"""A table's report from the results of its rows: tables, ranks, verdicts, pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reproduction.sets import ROWS, cells, finish, write_set
from tf_simclr import reproduce
from tf_simclr.reports import row_pictures
from tf_simclr.reproduction import jobs, report, store, tables

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"low": [60.0, 61.0], "high": [50.0, 52.0], "knn": [55.0]}


def report_only(table: Path, folder: Path, *arguments: str) -> int:
    return reproduce.main([f"--table={table}", f"--model_dir={folder}", "--report_only", *arguments])


def test_ours_stand_beside_the_papers(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, FIGURES)
    assert report_only(table, runs) == 0
    text = (runs / "tab.md").read_text()
    assert "| Temperature a tenth | 60.50 ± 0.71 | 2 | 1 | 64.4 | 1 |" in text
    assert "| Temperature one | 51.00 ± 1.41 | 2 | 3 | 58.0 | 2 |" in text
    assert "| By k-NN | 55.00 | 1 | 2 | - | - |" in text
    assert "too few rows have both" in text
    assert "| Low wins | holds | low > high | 9.50 | 0.50 |" in text
    rows = {row["row"]: row for row in csv.DictReader((runs / "tab.csv").open())}
    assert (float(rows["low"]["mean"]), rows["low"]["paper"], rows["knn"]["paper"]) == (60.5, "64.4", "")
    assert "Low wins" in (runs / "tab.html").read_text()
    with Image.open(runs / "tab.png") as picture:
        assert picture.format == "PNG"


def test_a_row_that_is_not_finished_is_a_dash(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, {"low": [60.0]})
    assert report_only(table, runs) == 0
    text = (runs / "tab.md").read_text()
    assert "| Temperature one | - | 0 | - | 58.0 | 2 |" in text
    assert "| Low wins | not judged | low > high | - | - |" in text


def test_agreement_counts_rows_with_both_figures(tmp_path: Path) -> None:
    rows = ROWS | {"knn": ROWS["knn"].replace("# at", "# paper: 60.0\n# at")}
    table, runs = write_set(tmp_path / "set", rows), tmp_path / "runs"
    finish(table, runs, FIGURES)
    report_only(table, runs)
    assert "1.00 (p = 0, 3 rows)" in (runs / "tab.md").read_text()


def test_a_finished_row_whose_flags_changed_stops_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with other rows to go; nothing is run and the results stay as they are."""
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, {"low": [60.0]})
    kept = store.path_of(str(runs / "results"), next(c for c in cells(table) if c.row.name == "low"))
    before, found = kept.read_bytes(), sorted(runs.rglob("*"))
    file = table / "low.cfg"
    file.write_text(file.read_text().replace("0.1\n", "0.2\n").replace("# at: 0.2", "# at: 0.1"))
    assert reproduce.main([f"--table={table}", f"--model_dir={runs}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (
        "low.cfg: the row has changed since it was finished (--temperature of pretrain was its default"
        in said
    )
    assert "and is 0.2); undo that, or delete" in said
    assert kept.read_bytes() == before
    assert sorted(runs.rglob("*")) == found


def test_a_damaged_result_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, {"low": [60.0]})
    (runs / "results" / "tab" / "low-seed0.json").write_text("{")
    assert report_only(table, runs) == 2
    assert "low-seed0.json is damaged" in capsys.readouterr().err


def test_a_figure_is_found_by_keys_and_places(tmp_path: Path) -> None:
    rows = {"low": ROWS["low"] + "# value: transfer.1.test\n"}
    table, runs = write_set(tmp_path / "set", rows), tmp_path / "runs"
    (cell,) = cells(table)
    result = {"transfer": [{"test": 1.0}, {"test": 2.5}], "versions": {}, "git_commit": None}
    for folder in cell.folders:
        (runs / folder).mkdir(parents=True)
        (runs / folder / "result.json").write_text(json.dumps(result))
    assert store.keep(str(tmp_path / "results"), cell, str(runs)) == 2.5


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("bars", [("32", "linear"), ("32", "none"), ("64", "linear")]),
        ("bars", [("a",), ("b",), ("c",)]),
        ("heat map", [("crop", "crop"), ("crop", "colour"), ("colour", "colour")]),
        ("lines", [("SimCLR", "1"), ("SimCLR", "2.5"), ("supervised", "1")]),
    ],
)
def test_pictures_show_every_row(kind: str, places: list[tuple[str, ...]]) -> None:
    """Another figure of any row is another picture."""
    points = [row_pictures.Point(at, 40.0 + 5 * place, 1.0) for place, at in enumerate(places)]
    drawn = row_pictures.draw(kind, points, ("x", "y"), "accuracy, %")
    for place, point in enumerate(points):
        other = [*points[:place], point._replace(mean=point.mean + 2), *points[place + 1 :]]
        pixels = [
            np.array(Image.open(io.BytesIO(one)))
            for one in (drawn, row_pictures.draw(kind, other, ("x", "y"), "accuracy, %"))
        ]
        assert pixels[0].shape != pixels[1].shape or (pixels[0] != pixels[1]).any()


def test_the_committed_page_is_what_the_results_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make paper` with another file to write."""
    monkeypatch.chdir(ROOT)
    listed = (ROOT / "Makefile").read_text().split("PAPER := ")[1].split("\n")[0].split()
    folders = ",".join(f"flags/paper_cpu/{name}" for name in listed)
    page = tmp_path / "paper.md"
    asked = [f"--table={folders}", "--results=results/paper_cpu", "--report_only", f"--page={page}"]
    assert reproduce.main(asked) == 0
    assert page.read_text() == (ROOT / "docs" / "paper.md").read_text(), "run `make paper`"
    drawn = {path.name for path in (tmp_path / "paper").glob("*.png")}
    assert drawn == {path.name for path in (ROOT / "docs" / "paper").glob("*.png")}
    assert {path.stem for path in (ROOT / "flags" / "paper_cpu").glob("*/")} >= set(listed)


def test_results_of_rows_that_are_gone_are_left_out(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, FIGURES)
    (table / "high.cfg").unlink()
    (table / "claims.json").write_text("{}")
    assert report_only(table, runs) == 0
    assert "Temperature one" not in (runs / "tab.md").read_text()


def test_ranks_share_the_better_place(tmp_path: Path) -> None:
    table, runs = write_set(tmp_path / "set"), tmp_path / "runs"
    finish(table, runs, {"low": [50.0], "high": [50.0], "knn": [40.0]})
    (found,) = tables.read(str(table))
    values = store.read(str(runs / "results"), cells(table))
    lines = report.of(found, values).lines
    assert [(line.row.name, line.rank) for line in lines] == [("high", 1), ("knn", 3), ("low", 1)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--page=file/page.md", "--page=file/page.md: cannot be written"),
        ("--page=.", "--page=. is a folder; give a file, as ./paper.md"),
        ("--results=file/results", "--results=file/results: cannot be written"),
        ("--model_dir=file/runs", "--model_dir=file/runs: cannot be written"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_runs(
    flags: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run_all", lambda *_: pytest.fail("it ran"))
    (tmp_path / "file").touch()
    assert reproduce.main([f"--table={write_set(tmp_path / 'set')}", "--model_dir=runs", flags]) == 2
    assert message in capsys.readouterr().err
