"""docs/reliability.md: its rows of fault, outcome and tests as data; its last part is written here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tf_simclr.reports import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HEADER = "| fault | outcome | test (tests/...) |"
MEASURED = "## Measured\n"


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault, what comes of it, and the tests that hold it, as pytest names them."""

    fault: str
    outcome: str
    tests: Sequence[str]


def rows(text: str) -> Iterator[Row]:
    """The rows of every table of faults; a cell `a.py::one, ::two` names two tests of a file."""
    inside = False
    for line in text.splitlines():
        inside = line == HEADER or (inside and line.startswith("|"))
        if inside and line != HEADER and not line.startswith("|---"):
            fault, outcome, tests = (cell.strip() for cell in line.strip("|").rsplit("|", 2))
            yield Row(fault, outcome, list(_names(tests)))


def _names(cell: str) -> Iterator[str]:
    file = ""
    for name in re.split(r"[,;]\s*", cell):
        own, _, test = name.partition("::")
        file = own or file
        yield f"tests/{file}::{test}"


def with_measured(text: str, lines: Sequence[str]) -> str:
    """The page with its last part replaced."""
    kept, *_ = text.split(f"\n{MEASURED}", maxsplit=1)
    return "\n".join([kept.rstrip(), "", MEASURED, *lines, ""])


def kills_table(outcomes: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A row a command, and their sum."""
    names = list(next(iter(outcomes.values())))
    rows = [[command, *outcome.values()] for command, outcome in outcomes.items()]
    total = ["all", *(sum(outcome[name] for outcome in outcomes.values()) for name in names)]
    yield from markdown.table(["command", *(name.replace("_", " ") for name in names)], [*rows, total])
