"""A folder of images: `folder:PATH`, with splits and classes by its layout, or labels from a CSV.

When PATH holds only folders named train, test, validation or val, these are its splits; otherwise a CSV may
name them, and else the whole is the one split `train`, of which `--holdout` may take the split `test`. Within
a split folders are classes (images in them, or one level below), and images lying straight in it are
unlabelled. Classes are the union over all splits, sorted, so that a class has the same number everywhere.
Hidden names (with a leading dot) are passed over.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from tf_simclr.data import slices
from tf_simclr.data.holdout import NOTHING, Holdout, Row
from tf_simclr.data.labels_csv import SPLITS, LabelsCsv, read_csv
from tf_simclr.data.records import UNLABELLED, FileSource
from tf_simclr.errors import EmptySplit, UsageError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "bmp")

Splits = dict[str, Callable[[], list[Row]]]
"""What lists the rows of each split; a row's file is a path below PATH."""


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What a folder holds; `held_out` are files of the split test, `order` the rows in the CSV's order."""

    splits: Splits
    class_names: list[str]
    held_out: tuple[str, ...] = ()
    order: Sequence[Row] | None = None


def folder_splits(path: str, labels_csv: str = "", holdout: Holdout = NOTHING) -> tuple[str, ...]:
    """Names of the splits in `path`; raises UsageError when it is no folder."""
    return tuple(_contents(path, labels_csv, holdout).splits)


def open_folder(path: str, split: str, labels_csv: str = "", holdout: Holdout = NOTHING) -> FileSource:
    """Opens a split of the folder `path`, a slice, or several as `train+val`; with `labels_csv` its rows."""
    found = _contents(path, labels_csv, holdout)
    rows = slices.select(f"folder:{path}", split, found.splits, name=lambda row: row[0])
    if found.order is not None:
        chosen = set(rows)
        rows = [row for row in found.order if row in chosen]
    if not rows:
        where = f"rows for it in {labels_csv}" if labels_csv else "images " + "/".join(IMAGE_EXTENSIONS)
        raise EmptySplit(f"--dataset=folder:{path}: split {split!r} is empty, there are no {where}")
    ids, labels = zip(*rows, strict=True)
    source = FileSource(f"folder:{path}", split, found.class_names, root=path, labels=labels, ids=ids)
    source.held_out = found.held_out
    return source


def _contents(path: str, labels_csv: str, holdout: Holdout) -> _Contents:
    prefixes = _split_prefixes(path)
    if labels_csv:
        labels = read_csv(path, labels_csv)
        found = _Contents(_csv_splits(path, labels, labels_csv, prefixes), labels.class_names)
        found = dataclasses.replace(found, order=labels.rows)
    else:
        names = _class_names(path, prefixes)
        folders = {split: functools.partial(_folder_rows, path, prefixes[split], names) for split in prefixes}
        found = _Contents({**folders}, names)
    if len(found.class_names) < 2 or not holdout.concerns(found.splits):
        return found
    train, test = holdout.divide(found.splits["train"]())
    divided: Splits = {**found.splits, "train": lambda: train}
    if test:
        divided["test"] = lambda: test
    held_out = tuple(sorted({file for file, _ in test}))
    return dataclasses.replace(found, splits=divided, held_out=held_out)


def _split_prefixes(path: str) -> dict[str, str]:
    """{split: its folder below `path`, with a slash; empty when `path` has no split folders}."""
    if not tf.io.gfile.isdir(path):
        raise UsageError(f"--dataset=folder:{path}: there is no such folder")
    folders, images = _listing(path)
    if folders and not images and set(folders) <= set(SPLITS):
        return {name: f"{name}/" for name in SPLITS if name in folders}
    return {"train": ""}


def _listing(path: str) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and of the images in `path`.

    A name with an image's extension is taken for an image unseen: asking about each file is slow on GCS.
    """
    names = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(path) if not name.startswith("."))
    images = [name for name in names if name.lower().rpartition(".")[2] in IMAGE_EXTENSIONS]
    others = set(names) - set(images)
    return sorted(name for name in others if tf.io.gfile.isdir(posixpath.join(path, name))), images


def _class_names(path: str, prefixes: dict[str, str]) -> list[str]:
    folders = [_listing(posixpath.join(path, prefix))[0] for prefix in prefixes.values()]
    return sorted({name for names in folders for name in names})


def _folder_rows(path: str, prefix: str, class_names: list[str]) -> list[Row]:
    number = {name: index for index, name in enumerate(class_names)}
    folders, images = _listing(posixpath.join(path, prefix))
    rows = [(prefix + image, UNLABELLED) for image in images]
    for folder in folders:
        for image in _images_below(posixpath.join(path, prefix + folder)):
            rows.append((f"{prefix}{folder}/{image}", number[folder]))
    return rows


def _images_below(path: str) -> Iterator[str]:
    """Images in a class's folder, and one level below."""
    folders, images = _listing(path)
    yield from images
    for folder in folders:
        for image in _listing(posixpath.join(path, folder))[1]:
            yield f"{folder}/{image}"


def _csv_splits(path: str, labels: LabelsCsv, labels_csv: str, prefixes: dict[str, str]) -> Splits:
    """The rows of each split, by the column `split` or by the folder; every row's file must be an image."""
    present = {name: set(_all_images(path, prefix)) for name, prefix in prefixes.items()}
    everywhere = set().union(*present.values())
    missing = next((file for file, _ in labels.rows if file not in everywhere), None)
    if missing is not None:
        raise UsageError(
            f"--labels={labels_csv} names {missing!r}, which is not an image in {path} "
            "(a header would be file,label)"
        )
    if labels.splits is not None:
        if "" not in prefixes.values():
            raise UsageError(
                f"--labels={labels_csv} has a column split, and {path} the folders {', '.join(prefixes)}, "
                "which are splits too; leave the column out"
            )
        named = labels.splits
        present = {name: {file for file in named if named[file] == name} for name in SPLITS}
        present = {name: files for name, files in present.items() if files}

    def rows_in(files: set[str]) -> list[Row]:
        return [row for row in labels.rows if row[0] in files]

    return {name: functools.partial(rows_in, files) for name, files in present.items()}


def _all_images(path: str, prefix: str) -> Iterator[str]:
    class_names = _listing(posixpath.join(path, prefix))[0]
    return (file for file, _ in _folder_rows(path, prefix, class_names))
