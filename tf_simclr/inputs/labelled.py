"""Labelled images of an evaluation: that each of them has a label, and each class an image to train on."""

from __future__ import annotations

from tf_simclr import data, inputs
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.data.labels import require_every_class
from tf_simclr.data.records import IndexedSource
from tf_simclr.evaluation.features import Encode, Features, extract_features


def features(config: Config, encode: Encode, source: Source) -> Features:
    """What `encode` gives of every image of `source`, in its order.

    Raises:
        UsageError: an image without a label, which a stream of records only shows when it is read.
    """
    found = extract_features(encode, inputs.evaluation_batches(config, source))
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
