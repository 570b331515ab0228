"""Labelled images: which of them keep their label, which are held out, and that none lacks one."""

from __future__ import annotations

from typing import Any

from tf_simclr import data
from tf_simclr.config.groups import Data, Labels
from tf_simclr.data import Source
from tf_simclr.data.labels import require_every_class
from tf_simclr.data.records import IndexedSource
from tf_simclr.evaluation.features import Encode, Features, extract_features
from tf_simclr.inputs.batches import evaluation_batches

HELD_OUT = 0.1  # of the labelled images, where a data set has no validation split


def subset(source: Source, wanted: Labels, seed: int) -> Source:
    """The class-balanced part of the images that --label_fraction or --labels_per_class leaves."""
    if not is_part(wanted):
        return source
    amount: dict[str, Any] = {"fraction": wanted.label_fraction}
    if wanted.labels_per_class:
        amount = {"per_class": wanted.labels_per_class}
    chosen = data.choose_labelled(source.labels(), num_classes=source.num_classes, seed=seed, **amount)
    return source.subset(chosen)


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
    """UsageError where a class has no image; a stream is not read for that."""
    if isinstance(source, IndexedSource):
        require_every_class(source.labels(), source.class_names, _name(source))


def _name(source: Source) -> str:
    return f"--dataset={source.name}: split {source.split!r}"
