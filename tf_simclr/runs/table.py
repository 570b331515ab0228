"""The tables of a run in training, the same whether or not it was interrupted."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence

from etils import epath

from tf_simclr.files import write_whole
from tf_simclr.runs import logged
from tf_simclr.runs.folder import RunFolder

Row = dict[str, str]
COUNTS = ("step", "images")


class Table:
    """A CSV file of a run with a column `step`; rows after `start_step` belong to work that was lost.

    Every worker reads the chief's and writes its own. Lines that are cut or damaged are said, and rows that
    are missing, of one every `every` steps, are put back from TensorBoard's logs: at once where one row is
    whole and tells the columns, else with the next row.
    """

    def __init__(self, run: RunFolder, name: str, start_step: int, every: int = 0) -> None:
        self._path, self._start = run.path / name, start_step
        stored, self._logs = run.checkpoints.parent / name, run.checkpoints.parent / "logs"
        rows, damaged = _read(stored)
        self.rows = [row for row in rows if int(row["step"]) <= start_step]
        expected = start_step // every if every else min(start_step, 1)
        self._gaps = start_step > 0 and (damaged or len(self.rows) < expected)
        if self._gaps:
            self._mend(stored, damaged)

    def _mend(self, stored: epath.Path, damaged: bool) -> None:
        kept = f"; the file as it was is {stored.name}.damaged" if damaged else ""
        if damaged:
            write_whole(stored.with_name(f"{stored.name}.damaged"), stored.read_bytes())
        whole = len(self.rows)
        if self.rows:
            self._put_back({key: int(cell) if key in COUNTS else cell for key, cell in self.rows[-1].items()})
            self._write()
        if damaged or len(self.rows) > whole:
            print(
                f"warning: {stored} is damaged: {whole} rows were whole, {len(self.rows) - whole} are put "
                f"back from logs/{kept}",
                file=sys.stderr,
            )

    def append(self, values: Mapping[str, float | str]) -> None:
        """Writes the file anew with a further row; floats get seven digits."""
        if self._gaps:
            self._put_back(values)
        self.rows.append({name: _text(value) for name, value in values.items()})
        self._write()

    def _write(self) -> None:
        content = io.StringIO()
        writer = csv.DictWriter(content, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self._path, content.getvalue())

    def _put_back(self, like: Mapping[str, float | str]) -> None:
        """Adds the rows up to the start that the logs hold with all the columns of the row `like`."""
        known = {int(row["step"]) for row in self.rows}
        lost = [
            {name: _text(value) for name, value in row.items()}
            for step, row in logged.rows(self._logs, like).items()
            if step <= self._start and step not in known
        ]
        self.rows = sorted([*self.rows, *lost], key=lambda row: int(row["step"]))
        self._gaps = False


def _read(path: epath.Path) -> tuple[list[Row], bool]:
    """The rows that are whole, and whether anything else is in the file."""
    if not path.exists():
        return [], False
    content = path.read_bytes().decode(errors="replace").replace("\0", "\ufffd")
    header, *lines = list(csv.reader(io.StringIO(content))) or [[]]
    if not content.endswith("\n"):
        lines = lines[:-1]  # its last number may be a part of one
    whole = [dict(zip(header, line, strict=True)) for line in lines if _is_whole(header, line)]
    return whole, len(whole) < content.count("\n") - 1 or not content.endswith("\n") or "step" not in header


def _is_whole(header: Sequence[str], line: Sequence[str]) -> bool:
    if "step" not in header or len(line) != len(header) or "" in line or "\ufffd" in "".join(line):
        return False
    return line[header.index("step")].isdecimal()


def _text(value: float | str) -> str:
    return str(value) if isinstance(value, int | str) else f"{value:.7g}"
