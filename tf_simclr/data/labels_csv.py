"""A CSV of file,label, with a column `split` or without: which images of a folder to use, and as what."""

from __future__ import annotations

import csv
import dataclasses
import io

import tensorflow as tf

from tf_simclr.data.holdout import EVAL_SPLITS, Row
from tf_simclr.errors import UsageError

SPLITS = ("train", *EVAL_SPLITS)
MOST_CLASSES = 100_000  # from which number on labels are names: WordNet's, identities, times
_COLUMNS = (["file", "label"], ["file", "label", "split"])


@dataclasses.dataclass(frozen=True)
class LabelsCsv:
    """Rows in their order, the class names, and the split of each file; None without that column."""

    rows: list[Row]
    class_names: list[str]
    splits: dict[str, str] | None


def read_csv(path: str, labels_csv: str) -> LabelsCsv:
    """Reads the CSV of the folder `path`; a header is needed where columns are in another order or three.

    Labels that are all whole numbers below `MOST_CLASSES` are the class numbers; any others are names,
    numbered in sorted order.

    Raises:
      UsageError: it cannot be read, a row or a value is not what it should be, or a file is in two splits.
    """
    flag = f"--labels={labels_csv}"
    columns, rows = _table(labels_csv, flag)
    bad = next((row for row in rows if len(row) != len(columns) or not all(row)), None)
    if bad is not None:
        hint = "; a third column needs the header file,label,split" if len(columns) < len(bad) == 3 else ""
        raise UsageError(f"{flag}: each row must be {','.join(columns)}; found {','.join(bad)!r}{hint}")
    if not rows:
        raise UsageError(f"{flag}: there are no rows in it")
    by_column = dict(zip(columns, zip(*rows, strict=True), strict=True))
    files = [file.removeprefix(path.rstrip("/") + "/").removeprefix("./") for file in by_column["file"]]
    numbers, class_names = _class_numbers(list(by_column["label"]), flag)
    _one_value(files, by_column["label"], flag, "is labelled")
    splits = None
    if "split" in by_column:
        splits = _one_value(files, by_column["split"], flag, "is in split")
        _require_known(splits, flag)
    return LabelsCsv(list(zip(files, numbers, strict=True)), class_names, splits)


def _table(labels_csv: str, flag: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, by the header where there is one, and the rows."""
    try:
        with tf.io.gfile.GFile(labels_csv, "rb") as file:
            text = file.read().decode("utf-8-sig")  # spreadsheets write a byte order mark
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    except tf.errors.NotFoundError as error:
        raise UsageError(f"{flag}: there is no such file") from error
    except (tf.errors.OpError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{flag}: can't be read as a CSV of file,label") from error
    header = [cell.lower() for cell in rows[0]] if rows else []
    return (header, rows[1:]) if sorted(header) in _COLUMNS else (_COLUMNS[0], rows)


def _one_value(files: list[str], values: tuple[str, ...], flag: str, what: str) -> dict[str, str]:
    """{file: its value}; UsageError where a file has two."""
    found: dict[str, str] = {}
    for file, value in zip(files, values, strict=True):
        if found.setdefault(file, value) != value:
            raise UsageError(f"{flag}: {file!r} {what} {found[file]!r} and {value!r}; leave one row")
    return found


def _require_known(splits: dict[str, str], flag: str) -> None:
    unknown = next((split for split in splits.values() if split not in SPLITS), None)
    if unknown is not None:
        raise UsageError(f"{flag}: there is no split {unknown!r}; write one of {', '.join(SPLITS)}")


def _class_numbers(labels: list[str], flag: str) -> tuple[list[int], list[str]]:
    try:
        numbers = [int(label) for label in labels]
    except ValueError:
        return _numbered(labels)
    if min(numbers) < 0:
        raise UsageError(f"{flag}: label {min(numbers)} is out of range; classes count from 0")
    if max(numbers) >= MOST_CLASSES:
        return _numbered(labels)
    return numbers, [str(number) for number in range(max(numbers) + 1)]


def _numbered(names: list[str]) -> tuple[list[int], list[str]]:
    """The number of each name among the sorted ones, and these."""
    class_names = sorted(set(names))
    number = {name: index for index, name in enumerate(class_names)}
    return [number[name] for name in names], class_names
