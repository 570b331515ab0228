"""metrics.csv: a row an epoch, the same whether or not the run was interrupted."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from tf_simclr.runs.folder import RunFolder

NAME = "metrics.csv"


class MetricsTable:
    """The rows of a run's metrics.csv; rows after `start_step` belong to work that was lost."""

    def __init__(self, run: RunFolder, start_step: int) -> None:
        self._run = run
        self._rows = [row for row in read(run) if int(row["step"]) <= start_step]

    def append(self, values: Mapping[str, float]) -> None:
        self._rows.append({name: _text(value) for name, value in values.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        self._run.write(NAME, text.getvalue())


def read(run: RunFolder) -> list[dict[str, str]]:
    """The rows of metrics.csv as text; none when it is not there."""
    path = run.path / NAME
    return list(csv.DictReader(io.StringIO(path.read_text()))) if path.exists() else []


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"
