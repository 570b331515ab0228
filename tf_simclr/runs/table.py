"""The tables of a run in training, the same whether or not it was interrupted."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from tf_simclr.files import write_whole
from tf_simclr.runs.folder import RunFolder


class Table:
    """A CSV file of a run with a column `step`; rows after `start_step` belong to work that was lost.

    Every worker reads the chief's and writes its own.
    """

    def __init__(self, run: RunFolder, name: str, start_step: int) -> None:
        self._path = run.path / name
        stored = run.checkpoints.parent / name
        rows = csv.DictReader(io.StringIO(stored.read_text())) if stored.exists() else ()
        self.rows = [row for row in rows if int(row["step"]) <= start_step]

    def append(self, values: Mapping[str, float | str]) -> None:
        """Writes the file anew with a further row; floats get seven digits."""
        self.rows.append({name: _text(value) for name, value in values.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self._path, text.getvalue())


def _text(value: float | str) -> str:
    return str(value) if isinstance(value, int | str) else f"{value:.7g}"
