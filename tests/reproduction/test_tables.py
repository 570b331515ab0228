"""Folders of flagfiles: every committed row resolves, and what cannot be read is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reproduction.sets import ROWS, cells, write_set
from tf_simclr import reproduce
from tf_simclr.errors import UsageError
from tf_simclr.reproduction import jobs, stages, tables, verdicts

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "flags").glob("paper*/*/claims.json"))
PAPERS = "table1 table2_4 table5 tableB1 figure5 figure7 figure8 figure9 table3 table6 table7 table8".split()


@pytest.mark.parametrize("family", ["paper", "paper_gpu", "paper_cpu"])
def test_every_table_has_its_folder(family: str) -> None:
    assert {folder.name for folder in FOLDERS if folder.parent.name == family} == set(PAPERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT / "flags")))
def test_rows_resolve_differ_and_are_what_claims_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (table,) = tables.read(str(folder.relative_to(ROOT)))
    rows = stages.cells(table.rows, [0], "")
    assert len({(cell.folders, cell.row.value) for cell in rows}) == len(rows), "two rows are the same run"
    for cell in rows:
        if cell.stages[0].command == "pretrain":
            cell.stages[0].config.method.check(cell.stages[0].config.optimization.train_batch_size)
        own = [line for line in cell.row.path.read_text().splitlines() if line.startswith("--")]
        assert own[0] == f"--flagfile=flags/{folder.parent.name}/{own[0].split('/')[-1]}", "it nests its base"
        assert len(own) < 8, "a row says only what differs"
    names = [row.name for row in table.rows]
    for claim in table.claims:
        for text in claim.comparisons:
            verdicts.parse(text, names, str(folder))
    if table.picture == "lines":
        assert all(float(row.at[1]) for row in table.rows)


def test_the_base_is_trained_once_for_all_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = tables.read("flags/paper/table5,flags/paper/figure9,flags/paper/tableB1,flags/paper/table2_4")
    rows = [row for table in found for row in table.rows]
    planned = jobs.jobs(stages.cells(rows, [0], ""))
    (base,) = [job for job in planned if any(cell.row.name == "nt_xent" for cell in job.cells)]
    assert {cell.row.name for cell in base.cells} == {
        "norm_t0.1",
        "b4096_e100",
        "b4096_e100_linear",
        "nt_xent",
    }
    assert len(base.lines("runs")) == 2, "one pretraining and one linear evaluation"
    assert len(planned) < len(rows)


def test_papers_figures_are_those_of_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few cells of each table, as paper.md has them."""
    stated = {
        "table1": {"s1": 63.2, "s1_blur": 64.5, "auto_augment": 61.1, "supervised_s0.125": 77.0},
        "table2_4": {"nt_xent": 63.9, "margin": 50.9, "nt_logistic_semi_hard": 57.9},
        "table5": {"norm_t0.05": 59.7, "norm_t0.1": 64.4, "none_t100": 57.0},
        "tableB1": {"b0256_e100_linear": 57.5, "b0256_e100_sqrt": 62.8, "b8192_e800_sqrt": 69.1},
        "figure9": {"b2048_e400": 68.1},
        "table3": {"rotation_h": 67.6, "rotation_g": 25.6},
        "table6": {"4x_top5": 93.2},
        "table7": {"2x_01pct": 83.0},
        "table8": {"dtd_4x": 78.9, "flowers_1x_finetuned": 97.0},
        "figure5": {"crop_color": None},
    }
    monkeypatch.chdir(ROOT)
    for name, figures in stated.items():
        (table,) = tables.read(f"flags/paper/{name}")
        papers = {row.name: row.paper for row in table.rows}
        assert {row: papers[row] for row in figures} == figures


def test_rows_are_picked_by_name_and_pattern(tmp_path: Path) -> None:
    table = write_set(tmp_path)
    found = tables.read(str(table))
    assert [row.name for row in tables.rows(found, "l*, tab/knn")] == ["knn", "low"]
    with pytest.raises(UsageError, match="--rows=nothing: no such row; there are high, knn, low"):
        tables.rows(found, "low,nothing")


def test_comments_are_read(tmp_path: Path) -> None:
    (table,) = tables.read(str(write_set(tmp_path)))
    high, knn, low = table.rows
    assert (low.label, low.paper, low.at, low.value) == ("Temperature a tenth", 64.4, ("0.1",), "top1")
    assert low.runs == (("pretrain",), ("linear_eval",))
    assert knn.runs == (("pretrain",), ("knn", "--k=5"))
    assert high.paper == 58.0
    assert (table.title, table.picture, table.axes) == ("A test", "bars", ("temperature",))


def test_rows_with_the_same_flags_share_their_runs_and_seeds_do_not(tmp_path: Path) -> None:
    high, knn, low, *second = cells(write_set(tmp_path), [0, 1])
    assert high.folders[0] == knn.folders[0] != low.folders[0]
    assert high.folders[1] != knn.folders[1]
    assert [len(job.cells) for job in jobs.jobs([high, low, knn])] == [2, 1], "one process trains for both"
    assert not {folder for cell in second for folder in cell.folders} & {*high.folders, *low.folders}


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda table: [file.unlink() for file in table.glob("*.cfg")], "no rows here"),
        (lambda table: (table / "low.cfg").write_text("--temprature=1\n"), "low.cfg: pretrain: Unknown"),
        (
            lambda table: (table / "low.cfg").write_text("--temperature=0\n"),
            "low.cfg: pretrain: --temperature=0",
        ),
        (
            lambda table: (table / "low.cfg").write_text("# paper: 6o\n"),
            "low.cfg: `# paper: 6o` is no number",
        ),
        (
            lambda table: (table / "low.cfg").write_text("# run: pretend\n"),
            "low.cfg: `# run: pretend` is none of",
        ),
        (lambda table: (table / "low.cfg").write_text("# run: ,\n"), "low.cfg: `# run:` names no command"),
        (lambda table: (table / "low.cfg").write_bytes(b"\xff\xfe#"), "low.cfg: cannot be read"),
        (lambda table: (table / "LOW.cfg").write_text("# Other.\n"), "two rows are named 'low'"),
        (
            lambda table: (table / "new.cfg").write_text(ROWS["low"]),
            "two rows are named 'Temperature a tenth'",
        ),
        (lambda table: (table / "claims.json").write_text("{"), "claims.json: cannot be read"),
        (
            lambda table: (table / "claims.json").write_text('{"picture": "pie"}'),
            "claims.json: picture 'pie'",
        ),
        (
            lambda table: (table / "low.cfg").rename(table / "lower.cfg"),
            "claims.json: 'low > high' names 'low'",
        ),
        (
            lambda table: (table / "claims.json").write_text('{"titel": ""}'),
            "claims.json: cannot be read (no such key: titel)",
        ),
        (
            lambda table: (table / "claims.json").write_text('{"claims": {"a": []}}'),
            "claims.json: cannot be read",
        ),
    ],
)
def test_a_mistake_is_one_line(break_it, words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_set(tmp_path / "set")
    break_it(table)
    assert reproduce.main([f"--table={table}", f"--model_dir={tmp_path / 'runs'}"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert words in said.err
    assert not (tmp_path / "runs").exists()


def test_two_tables_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (write_set(tmp_path / name) for name in ("one", "other"))
    assert reproduce.main([f"--table={one},{other}", f"--model_dir={tmp_path / 'runs'}"]) == 2
    assert "two tables are named 'tab'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--table is required"),
        (["--table=nowhere"], "--table=nowhere: no rows here"),
        (["--table=nowhere", "--model_dir="], "--model_dir is required"),
        (["--table=x", "--workers=0"], "--workers=0"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main([f"--model_dir={tmp_path / 'runs'}", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_flags_of_every_row_reach_the_commands_that_know_them(tmp_path: Path) -> None:
    (table,) = tables.read(str(write_set(tmp_path)))
    cell = stages.cells(table.rows, [3], "--train_steps=2 --nouse_blur --data_dir=x")[0]
    assert cell.arguments(0, "runs")[-4:] == [
        "--nouse_blur",
        "--data_dir=x",
        "--seed=3",
        *cell.arguments(0, "runs")[-1:],
    ]
    assert cell.stages[0].flags["train_steps"] == cell.stages[1].flags["train_steps"] == 2
    assert "data_dir" not in cell.stages[0].flags, "where the data are is no part of what a row is"
    with pytest.raises(UsageError, match=r"--row_flags=.*no command of the rows has --nonsense"):
        stages.cells(table.rows, [0], "--nonsense=1")


def test_workers_share_out_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert jobs._devices(3) == ["2", "3", "2"]
    assert jobs._devices(1) == [""], "one run may use them all"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert jobs._devices(2) == ["", ""]
