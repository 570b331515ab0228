"""docs/reliability.md names tests that are there, and its last part is what the kills gave."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults import reliability
from tests.faults.kills import Outcome

ROOT = Path(__file__).resolve().parents[2]
ROWS = list(reliability.rows(reliability.PAGE.read_text()))


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
def test_every_fault_is_held_by_a_test(row: reliability.Row) -> None:
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in functions(ROOT / file), test


def test_the_page_is_kept_but_for_its_last_part() -> None:
    before = "# Faults\n\n| a |\n"
    once = reliability.with_measured(before, ["one"])
    assert once == f"{before}\n{reliability.MEASURED}\none\n"
    assert reliability.with_measured(once, ["two"]) == once.replace("one", "two")


def test_the_kills_are_summed() -> None:
    outcomes = {"a": vars(Outcome(kills=3, runs=1)), "b": vars(Outcome(kills=4, rows_lost=2))}
    header, _, a, b, total = reliability.kills_table(outcomes)
    assert header == "| command | kills | while saving | runs | rows lost | bits different | litter |"
    assert (a, b) == ("| a | 3 | 0 | 1 | 0 | 0 | 0 |", "| b | 4 | 0 | 0 | 2 | 0 | 0 |")
    assert total == "| all | 7 | 0 | 1 | 2 | 0 | 0 |"
