"""Which split a protocol trains on, chooses by and tests on, and with which metric (App. B.8)."""

from __future__ import annotations

import dataclasses

from tf_simclr import data
from tf_simclr.config.groups import Data
from tf_simclr.data import Holdout, Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.metrics import Metric
from tf_simclr.evaluation.paper_transfer import PaperDataset, paper_dataset


@dataclasses.dataclass(frozen=True)
class Splits:
    """Names of splits; `validation` is empty where a part of `train` is to be held out."""

    train: str
    validation: str
    test: str
    metric: Metric
    paper: PaperDataset | None

    @property
    def both(self) -> str:
        """Training and validation images together."""
        return f"{self.train}+{self.validation}" if self.validation else self.train


def of_protocol(wanted: Data) -> Splits:
    """The paper's splits for its twelve data sets; elsewhere a validation split counts where there is one.

    --train_split and --eval_split go before both. A validation split that is trained or tested on cannot
    choose: a part of the training images is held out then.

    Raises:
        UsageError: the same split is to be trained and tested on.
    """
    paper = paper_dataset(wanted.dataset)
    if paper is not None:
        train = paper.train if wanted.train_split == "train" else wanted.train_split
        return _apart(Splits(train, paper.validation, wanted.eval_split or paper.test, paper.metric, paper))
    test = wanted.eval_split or data.default_eval_split(*kept_in(wanted))
    known = data.available_splits(*kept_in(wanted))
    validation = next((split for split in ("validation", "val") if split in known), "")
    return _apart(Splits(wanted.train_split, validation, test, "top1", None))


def kept_in(wanted: Data) -> tuple[str, str, str, Holdout]:
    """Where the splits of a data set are, as `data.available_splits` takes it."""
    return wanted.dataset, wanted.data_dir, wanted.labels, Holdout(wanted.holdout, wanted.holdout_seed)


def require_apart(train: Source, test: Source) -> None:
    """Refuses to test on what is trained on.

    Raises:
        UsageError: an image of the data set is in both.
    """
    require_names_apart(train.split, test.split)
    if shared := data.shared_images(train, test):
        raise UsageError(
            f"--eval_split={test.split}: {shared:,} of its images are trained on "
            f"(--train_split={train.split}); test on others"
        )


def require_names_apart(train: str, test: str) -> None:
    """As `require_apart` where nothing is opened yet; two different slices of a split are trusted.

    Raises:
        UsageError: a split, or the same slice of one, is in both.
    """
    shared = {
        _name(one) for one in _parts(train) for other in _parts(test) if one == other or _holds(one, other)
    }
    if shared:
        raise UsageError(
            f"--eval_split={test}: {' and '.join(sorted(shared))} is trained on "
            f"(--train_split={train}); test on another split, or leave --eval_split out"
        )


def _apart(splits: Splits) -> Splits:
    require_names_apart(splits.train, splits.test)
    used = {_name(part) for part in _parts(splits.train) + _parts(splits.test)}
    if used & {_name(part) for part in _parts(splits.validation)}:
        return dataclasses.replace(splits, validation="")
    return splits


def _parts(splits: str) -> list[str]:
    """The splits and slices in `a+b[:50%]`; a[:] is a."""
    return [part.strip().removesuffix("[:]") for part in splits.split("+") if part]


def _name(part: str) -> str:
    return part.partition("[")[0]


def _holds(one: str, other: str) -> bool:
    """Whether one is the whole of a split of which the other is a part; TFDS's `all` is of every split."""
    if "all" in (one, other):
        return True
    return _name(one) == _name(other) and not ("[" in one and "[" in other)
