"""states.csv of a recording: the numbers that belong to each image."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from tf_simclr.errors import UsageError

NAME = "states.csv"
_FOLDER = "folder:"
_NO_NUMBERS = ("file", "episode", "step")


@dataclasses.dataclass(frozen=True)
class States:
    """`rows` has the state of each file, numbers in the order of `names`; `path` is where they were read."""

    names: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    path: str

    def of(self, files: Sequence[str]) -> np.ndarray:
        """States [n, S] of images.

        Raises:
            UsageError: one is not there.
        """
        missing = [file for file in files if file not in self.rows]
        if missing:
            raise UsageError(f"--states={self.path}: has no row for {missing[0]!r}")
        return np.array([self.rows[file] for file in files])


def path_of(states: str, dataset: str) -> str:
    """`states`, or states.csv in the folder of a data set folder:PATH.

    Raises:
        UsageError: neither says where.
    """
    if not states and not dataset.startswith(_FOLDER):
        raise UsageError(f"--states is required: --dataset={dataset} is no folder of recorded frames")
    return states or str(epath.Path(dataset.removeprefix(_FOLDER)) / NAME)


def read(path: str) -> States:
    """Reads a CSV with a column `file`; all others but `episode` and `step` are numbers.

    Raises:
        UsageError: it is not there, has no such columns or rows, or one is no finite number.
    """
    flag = f"--states={path}"
    try:
        rows = list(csv.DictReader(epath.Path(path).read_text().splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{flag}: cannot be read; python -m tf_simclr.record writes one") from error
    columns = tuple(rows[0]) if rows else ()
    names = tuple(name for name in columns if name not in _NO_NUMBERS)
    if "file" not in columns or not names:
        raise UsageError(f"{flag}: has no rows of file and numbers")
    return States(names, {row["file"]: _numbers(row, names, flag) for row in rows}, path)


def _numbers(row: Mapping[str, str | None], names: Sequence[str], flag: str) -> tuple[float, ...]:
    try:
        found = tuple(float(row[name] or "") for name in names)
        if not all(map(math.isfinite, found)):
            raise ValueError
    except (ValueError, TypeError) as error:
        raise UsageError(f"{flag}: the row of {row['file']!r} is not of finite numbers") from error
    return found
