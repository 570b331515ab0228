"""The images of an open set: those of known classes, numbered anew, and those of all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_simclr.data import Source
from tf_simclr.data.records import UNLABELLED, IndexedSource
from tf_simclr.errors import UsageError
from tf_simclr.evaluation import weibull
from tf_simclr.inputs import labelled

MOST_NAMED = 20  # classes that a mistake lists


class OpenWorld(NamedTuple):
    """Known images have labels in [0, K), in the order of the known classes; the others have none."""

    train: IndexedSource
    validation_known: IndexedSource
    validation_unknown: IndexedSource
    test_known: IndexedSource
    test_unknown: IndexedSource


def numbers_of(classes: str, source: Source, flag: str) -> list[int]:
    """The classes of `source` that `flag` gives by name or number, between commas, in the source's order.

    Raises:
        UsageError: there is no such class, or one is there twice.
    """
    numbers = [number_of(name.strip(), source, flag) for name in classes.split(",")]
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"--{flag}={classes}: give different classes")
    return sorted(numbers)


def number_of(name: str, source: Source, flag: str) -> int:
    """The class of a name or number; names go before numbers, for a folder `7` need not be class 7."""
    if name in source.class_names:
        return source.class_names.index(name)
    if name.isascii() and name.isdecimal() and int(name) < source.num_classes:
        return int(name)
    names = ", ".join(source.class_names[:MOST_NAMED]) + ", ..." * (source.num_classes > MOST_NAMED)
    raise UsageError(f"--{flag}: --dataset={source.name} has no class {name!r}; give some of {names}")


def require_open(known: Sequence[int], source: Source, flag: str) -> None:
    """UsageError unless two classes are known and one is not; `flag` is named."""
    if len(known) < 2:
        raise UsageError(f"--{flag}: one class is nothing to tell apart; give two known classes at least")
    if len(known) == source.num_classes:
        raise UsageError(
            f"--{flag}: all {source.num_classes} classes of --dataset={source.name} would be known; "
            "leave one out at least, to be unknown"
        )


def world(train: Source, test: Source, known: Sequence[int], unknowns: Sequence[int], seed: int) -> OpenWorld:
    """A tenth of each class's training images, known and of `unknowns`, is held out to fit by.

    The unknown classes' other training images are not used at all.

    Raises:
        UsageError: there are too few images of either kind to fit by, or none to test on.
    """
    train, validation = labelled.hold_out(train, seed)
    others = [number for number in range(test.num_classes) if number not in known]
    return OpenWorld(
        _of_known(train, known),
        _of_known(validation, known, weibull.LEAST),
        _of_unknown(validation, unknowns, weibull.LEAST),
        _of_known(test, known),
        _of_unknown(test, others),
    )


def _of_known(source: Source, known: Sequence[int], least: int = 1) -> IndexedSource:
    part = _of(source, known, least, "known")
    number = {old: new for new, old in enumerate(known)}
    labels = np.array([number[label] for label in part.labels()])
    return part.with_classes(labels, [source.class_names[old] for old in known])


def _of_unknown(source: Source, unknowns: Sequence[int], least: int = 1) -> IndexedSource:
    part = _of(source, unknowns, least, "unknown")
    return part.with_classes(np.full(part.num_examples, UNLABELLED), ())


def _of(source: Source, classes: Sequence[int], least: int, what: str) -> IndexedSource:
    """The images of the classes; those of a stream are then in memory, still encoded."""
    rows = np.flatnonzero(np.isin(source.labels(), classes))
    if len(rows) < least:
        use = "are held out to fit a Weibull by" if least > 1 else "are there"
        raise UsageError(
            f"--dataset={source.name}: {len(rows)} images of {what} classes in split {source.split!r} {use}, "
            f"of {least} needed; give more images of each class"
        )
    part = source.subset(rows)
    assert isinstance(part, IndexedSource)
    return part
