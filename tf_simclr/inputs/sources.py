"""The images of a run: which split of which data set a `Config` asks for."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.data import Source, pillow_decoding
from tf_simclr.data.decoding import Decoding
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import EmptySplit, UsageError
from tf_simclr.inputs import bad_images, splits
from tf_simclr.inputs import labelled as labelled_images

FIRST = 100  # records of a stream that are looked at for a label


def train_source(config: Config, *, labelled: bool = False) -> Source:
    """The split to train on; `labelled` demands classes.

    Raises:
        UsageError: no data set, an unknown one, or one without labels where they are needed.
    """
    return _open(config, config.data.train_split, "train_split", labelled)


def pretraining_source(config: Config) -> Source:
    """The split to pretrain on, with the labels that the method is to see.

    Raises:
        UsageError: as `train_source`, or the method needs labels and no image has one.
    """
    method, flags = config.method, f"--dataset={config.data.dataset} --train_split={config.data.train_split}"
    source = train_source(config)
    if method.needs_labels:
        _require_classes(source, flags)
        _require_some_label(source, flags)
    if method.labelled_fraction < 1:
        return labelled_images.partly_labelled(source, method.labelled_fraction, config.run.seed)
    return source


def eval_source(config: Config, *, labelled: bool = True) -> Source:
    """The split to evaluate on: --eval_split, else test, else validation."""
    config.require_dataset()
    split = config.data.eval_split or data.default_eval_split(*splits.kept_in(config.data))
    return _open(config, split, "eval_split", labelled)


def train_and_test_sources(config: Config) -> tuple[Source, Source]:
    """The labelled splits to train on, or k-NN's bank, and to test on.

    Raises:
        UsageError: as for either, what is trained on would be tested on, or a class has nothing to train on.
    """
    train, test = train_source(config, labelled=True), eval_source(config)
    splits.require_apart(train, test)
    labelled_images.require_classes(train)
    return train, test


def open_split(config: Config, split: str, flag: str) -> Source:
    """A labelled split, one label an image or several; `flag` is named in mistakes."""
    return _open(config, split, flag, labelled=True, multi_label=True)


def any_split(config: Config, split: str) -> Source:
    """A split, with labels or without."""
    return _open(config, split, "eval_split", labelled=False)


def every_split(config: Config) -> list[Source]:
    """The split that --eval_split names, else all that hold images, with labels or without.

    Raises:
        UsageError: also where there is no image at all.
    """
    if config.data.eval_split:
        return [any_split(config, config.data.eval_split)]
    found, empty = [], None
    for split in available_splits(config):
        try:
            found.append(any_split(config, split))
        except EmptySplit as error:
            empty = error
    if not found and empty is not None:
        raise empty
    return found


def optional_eval_source(config: Config) -> Source | None:
    """The split to test the online classifier on; None where none is asked for and none holds images."""
    config.require_dataset()
    if config.data.eval_split:
        return eval_source(config, labelled=False)
    for split in data.eval_splits(*splits.kept_in(config.data)):
        try:
            return _open(config, split, "eval_split", labelled=False)
        except EmptySplit:
            continue
    return None


def few(source: Source, most: int) -> Source:
    """At most that many images, spread evenly over a source that can be indexed; of a stream the first."""
    count = min(most, source.num_examples)
    last = source.num_examples - 1 if isinstance(source, IndexedSource) else count - 1
    return source.subset(np.linspace(0, last, count).astype(np.int64))


def available_splits(config: Config) -> tuple[str, ...]:
    """Names of the data set's splits."""
    config.require_dataset()
    return data.available_splits(*splits.kept_in(config.data))


def _open(config: Config, split: str, flag: str, labelled: bool, multi_label: bool = False) -> Source:
    config.require_dataset()
    wanted, place = config.data, splits.kept_in(config.data)
    kept = None
    if flag == "train_split" or split == "test":  # what --holdout took is kept too
        kept = bad_images.kept_listing(config)
    policy = bad_images.policy(wanted)
    source = data.open_source(place[0], split, *place[1:], wanted.exif, wanted.channels, policy, kept)
    bad_images.watch(config, source)
    if config.devices.data_service and not wanted.cache_dataset:
        source.decoding = _of_services(source)
    if labelled:
        _require_labels(source, f"--dataset={config.data.dataset} --{flag}={split}", multi_label)
    return source


def _of_services(source: Source) -> Decoding:
    """How the services of --data_service decode: they have no Python of ours.

    Raises:
        UsageError: an image's name says that this is not enough.
    """
    for kind in pillow_decoding.EXTENSIONS:
        if source.census and source.census.images.get(kind):
            raise UsageError(
                f"--data_service: its processes cannot decode the .{kind} images of --dataset={source.name}; "
                "convert them, or give --cache_dataset and a --cache_dir that the services read too"
            )
    return dataclasses.replace(source.decoding, by_pillow=False)


def _require_labels(source: Source, flags: str, multi_label: bool) -> None:
    """Every label where that costs nothing, else the first: an unlabelled TFDS split has none at all."""
    _require_classes(source, flags, multi_label)
    if source.multi_label:
        return
    if isinstance(source, IndexedSource):
        data.require_labels(source.labels(), source.num_classes, flags)
    elif next(iter(source.records().take(1)))["label"] < 0:
        raise UsageError(f"{flags}: its images have no labels; name a split that has them")


def _require_some_label(source: Source, flags: str) -> None:
    """Any label at all; of a stream among the first: an unlabelled TFDS split has none."""
    some = source.labels() if isinstance(source, IndexedSource) else _first_labels(source)
    if max(some) < 0:
        raise UsageError(f"{flags}: its images have no labels; name a split that has them")


def _first_labels(source: Source) -> list[int]:
    return [int(record["label"]) for record in source.records().take(FIRST)]


def _require_classes(source: Source, flags: str, multi_label: bool = False) -> None:
    if source.num_classes < 2:
        raise UsageError(
            f"{flags}: has {source.num_classes or 'no'} classes; give folders of classes or --labels, "
            "or search without any: python -m tf_simclr.search"
        )
    if source.multi_label and not multi_label:
        raise UsageError(f"{flags}: has several labels an image, which only transfer and embed handle")
