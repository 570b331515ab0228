"""A table is a folder of rows: flagfiles, whose comments say what a row is beside its flags.

    # Crop and colour              the row's name in tables
    # paper: 63.2                  the paper's figure; none where it gives none
    # at: crop, colour             its place in the picture: heat map's row and column, group and bar
    # run: pretrain, linear_eval   commands in order, on the first one's encoder; flags behind a name
    # value: top1                  a figure of the last one's result.json, as top1 or transfer.0.test

The last two have these defaults. `claims.json` beside the rows holds the table's title, its picture, the
claims that are judged, and a note on them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tf_simclr import shipped
from tf_simclr.errors import UsageError

PICTURES = ("bars", "heat map", "lines", "none")
_KEYS = {"paper": "", "at": "", "run": "pretrain, linear_eval", "value": "top1"}
_TOLD = {"title", "picture", "axes", "claims", "note"}
_KEY = re.compile(r"#\s*(\w+):\s*(.*)")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table; `runs` are a command's name and the flags behind it."""

    table: str
    name: str
    path: Path
    label: str
    paper: float | None
    at: tuple[str, ...]
    runs: tuple[tuple[str, ...], ...]
    value: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of the paper, and comparisons of rows that hold where it does."""

    text: str
    comparisons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows in the order of their files' names, and what stands in claims.json."""

    name: str
    folder: Path
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    picture: str
    axes: tuple[str, ...]
    note: str


def read(folders: str) -> list[Table]:
    """The tables of folders between commas.

    Raises:
        UsageError: no folder, a table without rows, a file that does not read, two tables or two rows of one
            name.
    """
    paths = [Path(shipped.find(part.strip())) for part in folders.split(",") if part.strip()]
    if not paths:
        raise UsageError("--table is required: a folder of flagfiles, as flags/paper_cpu/table5")
    tables = [_read_table(path) for path in paths]
    _require_different([(table.name, str(path)) for table, path in zip(tables, paths, strict=True)], "tables")
    return tables


def rows(tables: Sequence[Table], chosen: str = "") -> list[Row]:
    """The rows of the tables, or those of names or patterns between commas, as crop_* or table5/norm_t1.

    Raises:
        UsageError: no row is called so.
    """
    every = [row for table in tables for row in table.rows]
    patterns = [part.strip() for part in chosen.split(",") if part.strip()]
    for pattern in patterns:
        if not any(_matches(row, pattern) for row in every):
            names = ", ".join(row.name for row in every)
            raise UsageError(f"--rows={pattern}: no such row; there are {names}"[:400])
    return [row for row in every if not patterns or any(_matches(row, pattern) for pattern in patterns)]


def _read_table(folder: Path) -> Table:
    files = sorted(folder.glob("*.cfg")) if folder.is_dir() else []
    if not files:
        raise UsageError(f"--table={folder}: no rows here; give a folder of flagfiles (*.cfg)")
    rows = tuple(_read_row(file) for file in files)
    _require_different([(row.name.lower(), str(row.path)) for row in rows], "rows")
    _require_different([(row.label, str(row.path)) for row in rows], "rows")
    told = _told(folder / "claims.json")
    claims = tuple(Claim(text, tuple(comparisons)) for text, comparisons in told.get("claims", {}).items())
    return Table(
        folder.name,
        folder,
        told.get("title", folder.name),
        rows,
        claims,
        told.get("picture", "none"),
        tuple(told.get("axes", ())),
        told.get("note", ""),
    )


def _read_row(path: Path) -> Row:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    comments = [line for line in lines if line.startswith("#")]
    found = [match.groups() for match in map(_KEY.fullmatch, comments) if match]
    said = _KEYS | {key: text.strip() for key, text in found if key in _KEYS}
    label = (
        comments[0].lstrip("# ").rstrip(".") if comments and not _KEY.fullmatch(comments[0]) else path.stem
    )
    runs = tuple(tuple(_words(path, part)) for part in said["run"].split(",") if part.strip())
    if not runs:
        raise UsageError(f"{path}: `# run:` names no command")
    at = tuple(part.strip() for part in said["at"].split(",") if part.strip())
    paper = _number(path, said["paper"])
    return Row(path.parent.name, path.stem, path, label, paper, at, runs, said["value"])


def _words(path: Path, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{path}: `# run: {text.strip()}` cannot be read ({error})") from None


def _number(path: Path, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise UsageError(f"{path}: `# paper: {text}` is no number; leave the line out") from None


def _told(path: Path) -> Mapping[str, Any]:
    """claims.json; empty where there is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        claims = told.get("claims", {})
        if unknown := told.keys() - _TOLD:
            raise ValueError(f"no such key: {min(unknown)}")
        if not all(isinstance(one, list) and one for one in claims.values()):
            raise ValueError("a claim goes with a list of comparisons")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    if told.get("picture", "none") not in PICTURES:
        raise UsageError(f"{path}: picture {told['picture']!r}: choose one of {', '.join(PICTURES)}")
    return told


def _require_different(names: Sequence[tuple[str, str]], what: str) -> None:
    first: dict[str, str] = {}
    for name, path in names:
        if name in first:
            raise UsageError(f"{path}: two {what} are named {name!r}; the other is {first[name]}")
        first[name] = path


def _matches(row: Row, pattern: str) -> bool:
    return fnmatchcase(row.name, pattern) or fnmatchcase(f"{row.table}/{row.name}", pattern)
