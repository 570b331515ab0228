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
import os
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from tf_simclr.data import census, keeping, slices
from tf_simclr.data.bad_images import FAIL, BadImages, Policy
from tf_simclr.data.contents import Contents, Splits
from tf_simclr.data.decoding import Decoding
from tf_simclr.data.holdout import NOTHING, Holdout, Row
from tf_simclr.data.labels_csv import SPLITS, LabelsCsv, read_csv
from tf_simclr.data.listing import Listing
from tf_simclr.data.records import UNLABELLED, FileSource
from tf_simclr.data.scan import Scan
from tf_simclr.data.walk import IMAGE_EXTENSIONS, Walk
from tf_simclr.errors import EmptySplit, UsageError


def folder_splits(path: str, labels_csv: str = "", holdout: Holdout = NOTHING) -> tuple[str, ...]:
    """Names of the splits in `path`; raises UsageError when it is no folder."""
    return tuple(_contents(Walk(path), labels_csv, holdout, lambda rows: rows).splits)


def open_folder(
    path: str,
    split: str,
    labels_csv: str = "",
    holdout: Holdout = NOTHING,
    policy: Policy = FAIL,
    kept: Listing | None = None,
) -> FileSource:
    """Opens a split of the folder `path`, a slice, or several as `train+val`; with `labels_csv` its rows.

    `kept` are the images that a training began with: they are used in place of those that are there now.
    """
    walk, scan = Walk(path), Scan(path, policy.max_pixels)
    found = _contents(walk, labels_csv, NOTHING if kept else holdout, scan, scan.bad if policy.skip else None)
    notes: list[str] = []
    if kept is not None:
        notes += keeping.changes(kept, _contents(walk, labels_csv, NOTHING, list, {}))
        found = keeping.with_kept(found, kept, scan)
    rows = slices.select(f"folder:{path}", split, found.splits, name=lambda row: row[0])
    if found.order is not None:
        chosen = set(rows)
        rows = [row for row in found.order if row in chosen]
    ids, labels = [file for file, _ in rows], [label for _, label in rows]
    tops = [found.prefixes.get(name, found.prefixes.get("train", "")) for name in slices.names(split)]
    listed = {file for file, _ in found.order or ()}
    notes += () if labels_csv else tuple(_notes(walk, found.prefixes, labels))
    taken = census.take(walk, tops, ids, found.class_names, labels_csv, listed | set(scan.bad), notes)
    bad_images = _bad_images(f"folder:{path}", walk, scan, policy, kept)
    if not rows:
        where = f"rows for it in {labels_csv}" if labels_csv else "images " + "/".join(IMAGE_EXTENSIONS)
        left = f", but {taken.says_left_out}" if taken.left_out else ""
        raise EmptySplit(f"--dataset=folder:{path}: split {split!r} is empty, there are no {where}{left}")
    sizes = [scan.sizes[file] for file in ids]
    source = FileSource(
        f"folder:{path}", split, found.class_names, root=path, labels=labels, ids=ids, sizes=sizes
    )
    source.decoding, source.census = Decoding(by_pillow=True), taken
    source.held_out = found.held_out
    source.bad_images = bad_images
    source.listing = kept or keeping.listing_of(found, split, scan)
    return source


def _bad_images(name: str, walk: Walk, scan: Scan, policy: Policy, kept: Listing | None) -> BadImages:
    """What the scan found; UsageError where that is too much."""
    bad = dict(scan.bad)
    for folder, one in walk.seen.items():
        for file in one.unreadable:
            name_in_bytes = os.fsencode(f"{folder}/{file}".lstrip("/"))
            bad[name_in_bytes.decode(errors="backslashreplace")] = "its name is no UTF-8"
    bad |= kept.bad if kept else {}
    found = BadImages(f"--dataset={name}", len(scan.sizes) + len(bad), policy)
    for file, reason in bad.items():
        found.note(file, reason, "scan")
    found.require_few()
    return found


def _contents(
    walk: Walk,
    labels_csv: str,
    holdout: Holdout,
    good: Callable[[list[Row]], list[Row]],
    missing: dict[str, str] | None = None,
) -> Contents:
    """`good` leaves out bad files; `missing` takes those that a CSV names and nobody finds, else an error."""
    prefixes = _split_prefixes(walk)
    if labels_csv:
        labels = read_csv(walk.root, labels_csv)
        splits = _csv_splits(walk, labels, labels_csv, prefixes, missing)
        found = Contents(splits, labels.class_names, prefixes, labels.rows)
    else:
        names = _class_names(walk, prefixes)
        folders = {split: functools.partial(_folder_rows, walk, prefixes[split], names) for split in prefixes}
        found = Contents({**folders}, names, prefixes)
    readable = {name: functools.partial(_good, rows, good) for name, rows in found.splits.items()}
    found = dataclasses.replace(found, splits={**readable})
    if len(found.class_names) < 2 or not holdout.concerns(found.splits):
        return found
    train, test = holdout.divide(found.splits["train"]())
    divided: Splits = {**found.splits, "train": lambda: train}
    if test:
        divided["test"] = lambda: test
    held_out = tuple(sorted({file for file, _ in test}))
    return dataclasses.replace(found, splits=divided, held_out=held_out)


def _good(rows: Callable[[], list[Row]], good: Callable[[list[Row]], list[Row]]) -> list[Row]:
    return good(rows())


def _notes(walk: Walk, prefixes: dict[str, str], labels: Sequence[int]) -> Iterator[str]:
    """What may be read otherwise than it was meant."""
    root = walk("")
    splits = [name for name in root.folders if name in SPLITS]
    if splits and prefixes == {"train": ""}:
        beside = next(name for name in [*root.images, *root.folders] if name not in SPLITS)
        yield f"{', '.join(splits)}: a class each, no split, since {beside} lies beside"
    unlabelled = labels.count(UNLABELLED)
    if 0 < unlabelled < len(labels):
        yield f"{unlabelled:,} images beside the class folders have no label"


def _split_prefixes(walk: Walk) -> dict[str, str]:
    """{split: its folder below the root, with a slash; empty when there are no split folders}."""
    if not tf.io.gfile.isdir(walk.root):
        raise UsageError(f"--dataset=folder:{walk.root}: there is no such folder")
    root = walk("")
    if root.folders and not root.images and set(root.folders) <= set(SPLITS):
        return {name: f"{name}/" for name in SPLITS if name in root.folders}
    return {"train": ""}


def _class_names(walk: Walk, prefixes: dict[str, str]) -> list[str]:
    return sorted({name for prefix in prefixes.values() for name in walk(prefix).folders})


def _folder_rows(walk: Walk, prefix: str, class_names: list[str]) -> list[Row]:
    number = {name: index for index, name in enumerate(class_names)}
    rows = [(prefix + image, UNLABELLED) for image in walk(prefix).images]
    for folder in walk(prefix).folders:
        for image in _images_below(walk, prefix + folder):
            rows.append((f"{prefix}{folder}/{image}", number[folder]))
    return rows


def _images_below(walk: Walk, folder: str) -> Iterator[str]:
    """Images in a class's folder, and one level below."""
    yield from walk(folder).images
    for inner in walk(folder).folders:
        for image in walk(f"{folder}/{inner}").images:
            yield f"{inner}/{image}"


def _csv_splits(
    walk: Walk,
    labels: LabelsCsv,
    labels_csv: str,
    prefixes: dict[str, str],
    missing: dict[str, str] | None,
) -> Splits:
    """The rows of each split, by the column `split` or by the folder.

    Every row's file is an image, or put into `missing`.
    """
    present = {name: set(_all_images(walk, prefix)) for name, prefix in prefixes.items()}
    everywhere = set().union(*present.values())
    absent = {
        file: f"named in {labels_csv}, and not there" for file, _ in labels.rows if file not in everywhere
    }
    if absent and (missing is None or len(absent) == len(labels.rows)):
        raise UsageError(
            f"--labels={labels_csv} names {next(iter(absent))!r}, which is not an image in {walk.root} "
            "(a header would be file,label)"
        )
    if missing is not None:
        missing.update(absent)
    if labels.splits is not None:
        if "" not in prefixes.values():
            raise UsageError(
                f"--labels={labels_csv} has a column split, and {walk.root} the folders "
                f"{', '.join(prefixes)}, which are splits too; leave the column out"
            )
        named = labels.splits
        present = {name: {file for file in named if named[file] == name} for name in SPLITS}
        present = {name: files for name, files in present.items() if files}

    def rows_in(files: set[str]) -> list[Row]:
        return [row for row in labels.rows if row[0] in files]

    return {name: functools.partial(rows_in, files) for name, files in present.items()}


def _all_images(walk: Walk, prefix: str) -> Iterator[str]:
    return (file for file, _ in _folder_rows(walk, prefix, walk(prefix).folders))
