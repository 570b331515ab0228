"""A folder whose images are those that a training began with, whatever has come and gone since."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from tf_simclr.data import slices
from tf_simclr.data.contents import Contents, Splits
from tf_simclr.data.holdout import Row
from tf_simclr.data.listing import Listing
from tf_simclr.data.records import UNLABELLED
from tf_simclr.data.scan import Scan
from tf_simclr.errors import UsageError


def listing_of(found: Contents, split: str, scan: Scan) -> Listing:
    """What a training that begins now keeps: the rows of its split, and of the one held out of it."""
    names = dict.fromkeys([*slices.names(split), *(("test",) if found.held_out else ())])
    rows = [(name, *row) for name in names for row in found.splits[name]()]
    if found.order is not None:
        split_of = {file: name for name, file, _ in rows}
        rows = [(split_of[file], file, label) for file, label in found.order if file in split_of]
    sizes = {file: scan.sizes[file] for _, file, _ in rows}
    return Listing(rows, found.class_names, sizes, dict(scan.bad), found.held_out, found.order is not None)


def with_kept(found: Contents, kept: Listing, scan: Scan) -> Contents:
    """The splits of `kept` as they were, others with its classes' numbers."""
    number = {name: index for index, name in enumerate(kept.class_names)}
    number_of = {index: number.get(name) for index, name in enumerate(found.class_names)} | {
        UNLABELLED: UNLABELLED
    }

    def renumbered(rows: Callable[[], list[Row]]) -> list[Row]:
        return [(file, label) for file, old in rows() if (label := number_of[old]) is not None]

    others = {name: functools.partial(renumbered, rows) for name, rows in found.splits.items()}
    own: Splits = {name: functools.partial(list, rows) for name, rows in kept.splits().items()}
    scan.sizes.update(kept.sizes)
    order = None
    if found.order is not None:
        listed = list(found.order)
        rows = [(file, label) for _, file, label in kept.rows]
        order = rows + [row for row in renumbered(lambda: listed) if row[0] not in kept.sizes]
    return Contents(
        {**others, **own},
        kept.class_names,
        found.prefixes,
        order,
        kept.held_out,
    )


def changes(kept: Listing, found: Contents) -> Iterator[str]:
    """What has changed since a training began, and what comes of it.

    Raises:
      UsageError: an image is of another class now.
    """
    before = {file: kept.class_name(label) for _, file, label in kept.rows}
    known = (*found.class_names, "none")  # UNLABELLED is the last one
    splits = [name for name in kept.splits() if name in found.splits]
    now = {file: known[label] for name in splits for file, label in found.splits[name]()}
    moved = next((file for file in before.keys() & now.keys() if before[file] != now[file]), None)
    if moved is not None:
        raise UsageError(
            f"--dataset has changed: {moved!r} was of class {before[moved]} when the run in --model_dir "
            f"began, and is of {now[moved]}; give another --model_dir"
        )
    added, gone = len(now.keys() - before.keys() - kept.bad.keys()), len(before.keys() - now.keys())
    if added:
        yield f"{added:,} images that the run did not begin with are left out; another --model_dir uses them"
    if gone:
        yield f"{gone:,} images that the run began with are gone; others stand in for them"
