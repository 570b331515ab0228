"""Labelled images: which of them keep their label, which are held out, and that none lacks one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_simclr import data
from tf_simclr.config.groups import Data, Labels
from tf_simclr.data import Source
from tf_simclr.data.labels import require_every_class
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import naming
from tf_simclr.evaluation.features import Encode, Features, extract_features
from tf_simclr.inputs.batches import evaluation_batches

TRUSTED = 100  # images a class, from which on TFDS data are not read to find that one is missing
HELD_OUT = 0.1  # of the labelled images, where a data set has no validation split


def subset(source: Source, wanted: Labels, seed: int) -> Source:
    """The class-balanced part of the images that --label_fraction or --labels_per_class leaves."""
    if not is_part(wanted):
        return source
    amount: dict[str, Any] = {"fraction": wanted.label_fraction}
    if wanted.labels_per_class:
        amount = {"per_class": wanted.labels_per_class}
    return source.subset(_choose(source, seed, **amount))


def partly_labelled(source: Source, fraction: float, seed: int) -> Source:
    """All images, of which a class-balanced fraction of the labelled ones keeps its label."""
    with naming("labelled_fraction", instead_of="label_fraction"):
        return source.with_labels_at(_choose(source, seed, fraction=fraction))


def require_draws(source: Source, labels_per_class: Iterable[int | None]) -> None:
    """UsageError where a class has not enough images for the largest of these numbers; None is all."""
    most = max((number for number in labels_per_class if number is not None), default=None)
    if most is not None:
        with naming("draws_labels_per_class", instead_of="labels_per_class"):
            _choose(source, seed=0, per_class=most)


def _choose(source: Source, seed: int, **amount: Any) -> np.ndarray:
    classes: dict[str, Any] = {"num_classes": source.num_classes, "class_names": source.class_names}
    return data.choose_labelled(source.labels(), seed=seed, **classes, **amount)


def is_part(wanted: Labels) -> bool:
    """Whether some labels are left out."""
    return bool(wanted.labels_per_class) or wanted.label_fraction < 1


def hold_out(source: Source, seed: int) -> tuple[Source, Source]:
    """The images to train on and those to choose by, a tenth of each class."""
    train, validation = data.split_validation(
        source.labels(), fraction=HELD_OUT, num_classes=source.num_classes, seed=seed
    )
    return source.subset(train), source.subset(validation)


def features(wanted: Data, encode: Encode, source: Source) -> Features:
    """What `encode` gives of every image of `source`, in its order.

    Raises:
        UsageError: an image without a label, which a stream of records only shows when it is read.
    """
    found = extract_features(encode, evaluation_batches(wanted, source))
    require_labels(found, source)
    return found


def require_labels(found: Features, source: Source) -> None:
    """UsageError unless the labels of `found`, a part of `source`, are classes of it."""
    if not source.multi_label:
        data.require_labels(found.labels, source.num_classes, _name(source))


def require_classes(source: Source) -> None:
    """UsageError where a class has no image to train on; a stream of many images a class is trusted."""
    is_read = isinstance(source, IndexedSource) or source.num_examples < TRUSTED * source.num_classes
    if is_read and not source.multi_label:
        require_every_class(source.labels(), source.class_names, _name(source))


def _name(source: Source) -> str:
    return f"--dataset={source.name}: split {source.split!r}"
