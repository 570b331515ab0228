"""Results of finished rows: small JSON files, RESULTS/TABLE/ROW-seedS.json, fit to be committed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole
from tf_simclr.reproduction.stages import Cell
from tf_simclr.reproduction.tables import Row

Values = dict[tuple[str, str], dict[int, float]]
"""(table, row) -> seed -> figure."""
_KEPT = ("steps", "num_labels", "num_eval_examples", "images_per_second", "wall_seconds")


def path_of(results: str, cell: Cell) -> epath.Path:
    return epath.Path(results) / cell.row.table / f"{cell.row.name}-seed{cell.seed}.json"


def read(results: str, cells: Sequence[Cell]) -> Values:
    """The figures of the cells that are finished.

    Raises:
        UsageError: a file is damaged, or of other flags than the row has now.
    """
    values: Values = {}
    for cell in cells:
        path = path_of(results, cell)
        if path.exists():
            values.setdefault((cell.row.table, cell.row.name), {})[cell.seed] = _figure(path, cell)
    return values


def seeds(results: str) -> list[int]:
    """Those that any row of any table is finished with."""
    found = (re.fullmatch(r".*-seed(\d+)\.json", path.name) for path in epath.Path(results).glob("*/*.json"))
    return sorted({int(match.group(1)) for match in found if match})


def _figure(path: epath.Path, cell: Cell) -> float:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        before, figure = [(one["command"], one["flags"]) for one in stored["runs"]], float(stored["figure"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}); delete it and run the row again") from error
    now = [(one["command"], one["flags"]) for one in json.loads(json.dumps(cell.identity))]
    if before != now or stored["value"] != cell.row.value:
        raise UsageError(
            f"{cell.row.path}: the row has changed since it was finished ({_change(before, now)}); undo "
            f"that, or delete {path} to run it anew"
        )
    return figure


def _change(before: Sequence[tuple[str, Mapping]], now: Sequence[tuple[str, Mapping]]) -> str:
    """The first difference in words."""
    for (command, old), (other, new) in zip(before, now, strict=False):
        if command != other:
            return f"{other} in place of {command}"
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                was, is_now = (repr(flags[name]) if name in flags else "its default" for flags in (old, new))
                return f"--{name} of {command} was {was} and is {is_now}"
    return "its commands" if len(before) != len(now) else "the figure that it takes"


def keep(results: str, cell: Cell, model_dir: str) -> float:
    """Writes the result of a cell whose runs are finished; returns its figure.

    Raises:
        UsageError: the last run's result has no such figure.
    """
    found = [
        json.loads((epath.Path(model_dir) / folder / "result.json").read_text()) for folder in cell.folders
    ]
    figure = _picked(found[-1], cell.row)
    runs = [
        {**own, **{name: result[name] for name in _KEPT if result.get(name) is not None}}
        for own, result in zip(cell.identity, found, strict=True)
    ]
    content = {
        "table": cell.row.table,
        "row": cell.row.name,
        "seed": cell.seed,
        "value": cell.row.value,
        "figure": figure,
        "runs": runs,
        "versions": found[-1]["versions"],
        "git_commit": found[-1]["git_commit"],
    }
    path = path_of(results, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=2) + "\n")
    return figure


def _picked(result: Any, row: Row) -> float:
    """The figure that `# value:` names: keys and places, between dots."""
    found = result
    try:
        for part in row.value.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return float(found)
    except (KeyError, IndexError, TypeError, ValueError):
        raise UsageError(
            f"{row.path}: `# value: {row.value}` is no number of {row.runs[-1][0]}'s result.json"
        ) from None
