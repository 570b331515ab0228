"""What training images are called: a CSV of file,caption, or templates around the names of their classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_simclr.data.records import IndexedSource, Source
from tf_simclr.data.walk import IMAGE_EXTENSIONS, extension
from tf_simclr.errors import UsageError

SLOT, BETWEEN = "{}", "|"


class Captions(NamedTuple):
    """The different texts, and which of them each image has.

    Attributes:
        texts: T strings.
        meanings: int64 [T], equal where texts say the same in other words; None: each says something else.
        rows: numbers of texts, int64 [M], image after image in the source's order.
        counts: how many of `rows` each image has, int64 [N], at least 1.
    """

    texts: list[str]
    meanings: np.ndarray | None
    rows: np.ndarray
    counts: np.ndarray


def of_classes(source: Source, templates: str) -> Captions:
    """Every template with the name of the image's class in it.

    Raises:
        UsageError: an image has no class, or several.
    """
    flag = f"--dataset={source.name}"
    if source.multi_label or not source.num_classes:
        raise UsageError(f"{flag}: --caption_templates needs one class an image; give --captions=FILE.csv")
    labels = source.labels()
    if labels.min() < 0:
        raise UsageError(f"{flag}: an image has no class to be called by; give --captions=FILE.csv")
    words = [filled(templates, name) for name in source.class_names]
    each = len(words[0])
    return Captions(
        texts=[text for texts in words for text in texts],
        meanings=np.repeat(np.arange(len(words)), each),
        rows=(labels[:, np.newaxis] * each + np.arange(each)).ravel(),
        counts=np.full([len(labels)], each),
    )


def filled(templates: str, name: str) -> list[str]:
    """The templates between | with a class name in the place of {}; its underscores are spaces."""
    return [template.strip().replace(SLOT, name.replace("_", " ")) for template in templates.split(BETWEEN)]


def of_csv(path: str, source: Source) -> Captions:
    """The captions of a folder's images; a file may have several rows.

    Raises:
        UsageError: the CSV cannot be used, or does not go with the folder.
    """
    flag = f"--captions={path}"
    root = source.name.removeprefix("folder:").rstrip("/")
    if root == source.name or not isinstance(source, IndexedSource):
        raise UsageError(
            f"{flag} goes with --dataset=folder:PATH; leave it out, and --caption_templates names the classes"
        )
    found: dict[str, list[str]] = {}
    for file, caption in read_table(path, "captions", ("file", "caption")):
        found.setdefault(file.removeprefix(root + "/").removeprefix("./"), []).append(caption)
    names = source.names()
    _require_images(root, found.keys() - set(names), flag)
    bare = next((name for name in names if name not in found), None)
    if bare is not None:
        raise UsageError(f"{flag} has no row for {bare!r} of {root}, split {source.split!r}; add one")
    texts = sorted({caption for name in names for caption in found[name]})
    number = {text: index for index, text in enumerate(texts)}
    rows = [number[caption] for name in names for caption in found[name]]
    return Captions(texts, None, np.array(rows), np.array([len(found[name]) for name in names]))


def read_table(path: str, flag: str, columns: Sequence[str]) -> list[list[str]]:
    """The cells of a CSV's rows in the order of `columns`, which its header names.

    Raises:
        UsageError: it cannot be read, lacks a column or a row, or a cell is empty.
    """
    flag = f"--{flag}={path}"
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            text = file.read().decode("utf-8-sig")  # spreadsheets write a byte order mark
        table = csv.DictReader(io.StringIO(text))
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        rows = [[(row.get(column) or "").strip() for column in columns] for row in table]
    except tf.errors.NotFoundError as error:
        raise UsageError(f"{flag}: there is no such file") from error
    except (tf.errors.OpError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{flag}: can't be read as a CSV of {','.join(columns)}") from error
    if missing:
        raise UsageError(f"{flag}: has no column {missing[0]!r}; begin it with {','.join(columns)}")
    if not rows:
        raise UsageError(f"{flag}: there are no rows in it")
    for row in rows:
        if not all(row):
            raise UsageError(f"{flag}: a row has no {columns[row.index('')]}; found {','.join(row)!r}")
    return rows


def _require_images(root: str, files: set[str], flag: str) -> None:
    """UsageError where one of `files`, which are not of this split, is no image below `root` at all."""
    for file in sorted(files):
        if extension(file) not in IMAGE_EXTENSIONS or not tf.io.gfile.exists(f"{root}/{file}"):
            raise UsageError(f"{flag} names {file!r}, which is no image in {root}")
