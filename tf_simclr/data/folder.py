"""A folder of images: `folder:PATH`, with splits and classes by its layout, or labels from a CSV.

When PATH holds only folders named train, test, validation or val, these are its splits; otherwise the whole
is the one split `train`. Within a split folders are classes (images in them, or one level below), and images
lying straight in it are unlabelled. Classes are the union over all splits, sorted, so that a class has the
same number everywhere. Hidden names (with a leading dot) are passed over.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import tensorflow as tf

from tf_simclr.data import census
from tf_simclr.data.decoding import Decoding
from tf_simclr.data.records import UNLABELLED, FileSource
from tf_simclr.data.walk import IMAGE_EXTENSIONS, Walk
from tf_simclr.errors import EmptySplit, UsageError

_SPLIT_FOLDERS = ("train", "test", "validation", "val")

Row = tuple[str, int]  # path below PATH, label


def folder_splits(path: str) -> tuple[str, ...]:
    """Names of the splits in `path`; raises UsageError when it is no folder."""
    return tuple(_split_prefixes(Walk(path)))


def open_folder(path: str, split: str, labels_csv: str = "") -> FileSource:
    """Opens a split of the folder `path`, or several as `train+val`; with `labels_csv` its rows."""
    walk = Walk(path)
    prefixes = _split_prefixes(walk)
    parts, listed = split.split("+"), set()
    if labels_csv:
        rows, class_names = _read_csv(path, labels_csv)
        listed = {file for file, _ in rows}
        rows = _rows_of_splits(walk, rows, labels_csv, prefixes, parts)
    else:
        class_names = _class_names(walk, prefixes)
        rows = [row for part in parts for row in _folder_rows(walk, prefixes[part], class_names)]
    ids, labels = [file for file, _ in rows], [label for _, label in rows]
    tops = [prefixes[part] for part in parts]
    notes = () if labels_csv else tuple(_notes(walk, prefixes, labels))
    found = census.take(walk, tops, ids, class_names, labels_csv, listed, notes)
    if not rows:
        where = f"rows for it in {labels_csv}" if labels_csv else "images " + "/".join(IMAGE_EXTENSIONS)
        left = f", but {found.says_left_out}" if found.left_out else ""
        raise EmptySplit(f"--dataset=folder:{path}: split {split!r} is empty, there are no {where}{left}")
    source = FileSource(f"folder:{path}", split, class_names, root=path, labels=labels, ids=ids)
    source.decoding, source.census = Decoding(by_pillow=True), found
    return source


def _notes(walk: Walk, prefixes: dict[str, str], labels: Sequence[int]) -> Iterator[str]:
    """What may be read otherwise than it was meant."""
    root = walk("")
    splits = [name for name in root.folders if name in _SPLIT_FOLDERS]
    if splits and prefixes == {"train": ""}:
        beside = next(name for name in [*root.images, *root.folders] if name not in _SPLIT_FOLDERS)
        yield f"{', '.join(splits)}: a class each, no split, since {beside} lies beside"
    unlabelled = labels.count(UNLABELLED)
    if 0 < unlabelled < len(labels):
        yield f"{unlabelled:,} images beside the class folders have no label"


def _split_prefixes(walk: Walk) -> dict[str, str]:
    """{split: its folder below the root, with a slash; empty when there are no split folders}."""
    if not tf.io.gfile.isdir(walk.root):
        raise UsageError(f"--dataset=folder:{walk.root}: there is no such folder")
    root = walk("")
    if root.folders and not root.images and set(root.folders) <= set(_SPLIT_FOLDERS):
        return {name: f"{name}/" for name in _SPLIT_FOLDERS if name in root.folders}
    return {"train": ""}


def _class_names(walk: Walk, prefixes: dict[str, str]) -> list[str]:
    return sorted({name for prefix in prefixes.values() for name in walk(prefix).folders})


def _folder_rows(walk: Walk, prefix: str, class_names: list[str]) -> Iterator[Row]:
    number = {name: index for index, name in enumerate(class_names)}
    for image in walk(prefix).images:
        yield prefix + image, UNLABELLED
    for folder in walk(prefix).folders:
        for image in _images_below(walk, prefix + folder):
            yield f"{prefix}{folder}/{image}", number[folder]


def _images_below(walk: Walk, folder: str) -> Iterator[str]:
    """Images in a class's folder, and one level below."""
    yield from walk(folder).images
    for inner in walk(folder).folders:
        for image in walk(f"{folder}/{inner}").images:
            yield f"{inner}/{image}"


def _read_csv(path: str, labels_csv: str) -> tuple[list[Row], list[str]]:
    """All rows of a CSV of file,label (a header `file,label` may be there), and the class names.

    Labels that are all whole numbers are the class numbers; any others are names, numbered in sorted order.
    """
    flag = f"--labels={labels_csv}"
    try:
        with tf.io.gfile.GFile(labels_csv, "rb") as file:
            text = file.read().decode("utf-8-sig")  # spreadsheets write a byte order mark
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    except tf.errors.NotFoundError as error:
        raise UsageError(f"{flag}: there is no such file") from error
    except (tf.errors.OpError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{flag}: can't be read as a CSV of file,label") from error
    if rows and [cell.lower() for cell in rows[0]] == ["file", "label"]:
        rows = rows[1:]
    bad = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if bad is not None:
        raise UsageError(f"{flag}: each row must be file,label; found {','.join(bad)!r}")
    if not rows:
        raise UsageError(f"{flag}: there are no rows in it")
    numbers, class_names = _class_numbers([label for _, label in rows], flag)
    files = [file.removeprefix(path.rstrip("/") + "/").removeprefix("./") for file, _ in rows]
    labels: dict[str, str] = {}
    for file, (_, label) in zip(files, rows, strict=True):
        if labels.setdefault(file, label) != label:
            raise UsageError(f"{flag}: {file!r} is labelled {labels[file]!r} and {label!r}; leave one row")
    return list(zip(files, numbers, strict=True)), class_names


def _class_numbers(labels: list[str], flag: str) -> tuple[list[int], list[str]]:
    try:
        numbers = [int(label) for label in labels]
    except ValueError:
        class_names = sorted(set(labels))
        number = {name: index for index, name in enumerate(class_names)}
        return [number[label] for label in labels], class_names
    if min(numbers) < 0:
        raise UsageError(f"{flag}: label {min(numbers)} is out of range; classes count from 0")
    return numbers, [str(number) for number in range(max(numbers) + 1)]


def _rows_of_splits(
    walk: Walk, rows: list[Row], labels_csv: str, prefixes: dict[str, str], splits: list[str]
) -> list[Row]:
    """The rows whose file lies in one of the splits; every row's file must lie in some split."""
    present = {split_: set(_all_images(walk, prefix)) for split_, prefix in prefixes.items()}
    everywhere = set().union(*present.values())
    missing = next((file for file, _ in rows if file not in everywhere), None)
    if missing is not None:
        raise UsageError(
            f"--labels={labels_csv} names {missing!r}, which is not an image in {walk.root} "
            "(a header would be file,label)"
        )
    wanted = set().union(*(present[split] for split in splits))
    return [row for row in rows if row[0] in wanted]


def _all_images(walk: Walk, prefix: str) -> Iterator[str]:
    return (file for file, _ in _folder_rows(walk, prefix, walk(prefix).folders))
