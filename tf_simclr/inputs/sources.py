"""The images of a run: which split of which data set a `Config` asks for."""

from __future__ import annotations

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import EmptySplit, UsageError
from tf_simclr.inputs import splits


def train_source(config: Config, *, labelled: bool = False) -> Source:
    """The split to train on; `labelled` demands classes.

    Raises:
        UsageError: no data set, an unknown one, or one without labels where they are needed.
    """
    return _open(config, config.data.train_split, "train_split", labelled)


def eval_source(config: Config, *, labelled: bool = True) -> Source:
    """The split to evaluate on: --eval_split, else test, else validation."""
    config.require_dataset()
    split = config.data.eval_split or data.default_eval_split(config.data.dataset, config.data.data_dir)
    return _open(config, split, "eval_split", labelled)


def train_and_test_sources(config: Config) -> tuple[Source, Source]:
    """The labelled splits to train on, or k-NN's bank, and to test on.

    Raises:
        UsageError: as for either, or what is trained on would be tested on.
    """
    train, test = train_source(config, labelled=True), eval_source(config)
    splits.require_apart(train.split, test.split)
    return train, test


def open_split(config: Config, split: str, flag: str) -> Source:
    """A labelled split, one label an image or several; `flag` is named in mistakes."""
    return _open(config, split, flag, labelled=True, multi_label=True)


def any_split(config: Config, split: str) -> Source:
    """A split, with labels or without."""
    return _open(config, split, "eval_split", labelled=False)


def optional_eval_source(config: Config) -> Source | None:
    """The split to test the online classifier on; None where none is asked for and none holds images."""
    config.require_dataset()
    if config.data.eval_split:
        return eval_source(config, labelled=False)
    for split in data.eval_splits(config.data.dataset, config.data.data_dir):
        try:
            return _open(config, split, "eval_split", labelled=False)
        except EmptySplit:
            continue
    return None


def _open(config: Config, split: str, flag: str, labelled: bool, multi_label: bool = False) -> Source:
    config.require_dataset()
    wanted = config.data
    source = data.open_source(wanted.dataset, split, wanted.data_dir, wanted.labels, wanted.channels)
    if labelled:
        _require_labels(source, f"--dataset={config.data.dataset} --{flag}={split}", multi_label)
    return source


def _require_labels(source: Source, flags: str, multi_label: bool) -> None:
    """Every label where that costs nothing, else the first: an unlabelled TFDS split has none at all."""
    if source.num_classes < 2:
        raise UsageError(
            f"{flags}: has {source.num_classes or 'no'} classes; give folders of classes or --labels"
        )
    if source.multi_label:
        if not multi_label:
            raise UsageError(f"{flags}: has several labels an image, which only transfer and embed handle")
    elif isinstance(source, IndexedSource):
        data.require_labels(source.labels(), source.num_classes, flags)
    elif next(iter(source.records().take(1)))["label"] < 0:
        raise UsageError(f"{flags}: its images have no labels; name a split that has them")
