"""A small set of flagfiles on the digits, and results as its rows would leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tf_simclr.reproduction import stages, store, tables

BASE = """--dataset=digits
--image_size=8
--resnet_depth=18
--width_multiplier=0.125
--train_batch_size=64
--train_steps=6
--warmup_epochs=0
--proj_out_dim=8
--nouse_flip
"""
ROWS = {
    "low": "# Temperature a tenth.\n# paper: 64.4\n# at: 0.1\n",
    "high": "# Temperature one.\n# paper: 58.0\n# at: 1\n",
    "knn": "# By k-NN.\n# at: k\n# run: pretrain, knn --k=5\n",
}
OWN = {"low": "--temperature=0.1\n", "high": "--temperature=1.0\n", "knn": "--temperature=1.0\n"}
CLAIMS = {
    "title": "A test",
    "picture": "bars",
    "axes": ["temperature"],
    "claims": {"Low wins": ["low > high"]},
}


def write_set(folder: Path, rows: Mapping[str, str] = ROWS, name: str = "tab") -> Path:
    """Writes base, evaluation and table; returns the table's folder."""
    table = folder / name
    table.mkdir(parents=True)
    (folder / "base.cfg").write_text(BASE)
    (folder / "linear_eval.cfg").write_text("--train_batch_size=64\n--augment=none\n--train_epochs=1\n")
    for row, comments in rows.items():
        nested = f"--flagfile={folder / 'base.cfg'}\n"
        (table / f"{row}.cfg").write_text(comments + nested + OWN.get(row, ""))
    if {"low", "high"} <= rows.keys():
        (table / "claims.json").write_text(json.dumps(CLAIMS))
    return table


def cells(table: Path, seeds: Sequence[int] = (0,)) -> list[stages.Cell]:
    (found,) = tables.read(str(table))
    return stages.cells(found.rows, seeds, "")


def finish(table: Path, model_dir: Path, figures: Mapping[str, Sequence[float]]) -> None:
    """Keeps results of rows, a figure a seed, as if their runs had ended with them."""
    for cell in cells(table, range(max(map(len, figures.values())))):
        if cell.seed < len(figures.get(cell.row.name, ())):
            for folder in cell.folders:
                (model_dir / folder).mkdir(parents=True, exist_ok=True)
                result = {"top1": figures[cell.row.name][cell.seed], "versions": {}, "git_commit": None}
                (model_dir / folder / "result.json").write_text(json.dumps(result))
            store.keep(str(model_dir / "results"), cell, str(model_dir))
