"""Opening a data set by the name that `--dataset` gives it."""

from __future__ import annotations

import dataclasses

from tf_simclr.data import digits, folder
from tf_simclr.data.bad_images import FAIL, Policy
from tf_simclr.data.holdout import EVAL_SPLITS, NOTHING, Holdout
from tf_simclr.data.listing import Listing
from tf_simclr.data.records import Source
from tf_simclr.errors import UsageError

_FOLDER = "folder:"
_SLICES = "--train_split=train[:80%] --eval_split=train[80%:]"


def open_source(
    dataset: str,
    split: str,
    data_dir: str = "",
    labels_csv: str = "",
    holdout: Holdout = NOTHING,
    exif: str = "ignore",
    channels: int = 3,
    policy: Policy = FAIL,
    kept: Listing | None = None,
) -> Source:
    """Opens one split of a data set.

    Args:
      dataset: `digits`, `folder:PATH`, or a TFDS name with version or config (`cifar10:3.0.2`,
        `imagenet2012_subset/1pct`).
      split: one of `available_splits`, a slice of it such as `train[:10%]`, or several, joined by +.
      data_dir: where TFDS keeps its data; empty for TFDS's own default.
      labels_csv: a CSV of file,label or file,label,split for a folder; files are relative to PATH.
      holdout: what is held out of a folder without a test split; nothing by default.
      exif: "apply" turns images upright, as their EXIF orientation says.
      channels: 3, RGB, or 1: the images in grey.
      policy: what becomes of bad images.
      kept: the images of the folder that a training began with.

    Raises:
      UsageError: unknown data set, folder or split, an empty split, data that can't be prepared, a bad CSV,
        more bad images than are borne.
    """
    source = _open(dataset, split, data_dir, labels_csv, holdout, policy, kept)
    if dataset != "digits":  # whose images we have made
        source.bad_images.policy = policy
    source.decoding = dataclasses.replace(
        source.decoding, upright=exif == "apply", max_pixels=policy.max_pixels
    )
    source.channels = channels
    return source


def _open(
    dataset: str,
    split: str,
    data_dir: str,
    labels_csv: str,
    holdout: Holdout,
    policy: Policy,
    kept: Listing | None,
) -> Source:
    is_folder = dataset.startswith(_FOLDER)
    if labels_csv and not is_folder:
        raise UsageError(f"--labels={labels_csv} goes with --dataset=folder:PATH only, not with {dataset}")
    if is_folder:
        return folder.open_folder(dataset.removeprefix(_FOLDER), split, labels_csv, holdout, policy, kept)
    if dataset == "digits":
        return digits.open_digits(split)
    from tf_simclr.data import tfds_source

    return tfds_source.open_tfds(dataset, split, data_dir)


def available_splits(
    dataset: str, data_dir: str = "", labels_csv: str = "", holdout: Holdout = NOTHING
) -> tuple[str, ...]:
    """Names of a data set's splits; arguments as `open_source`'s."""
    if dataset == "digits":
        return digits.SPLITS
    if dataset.startswith(_FOLDER):
        return folder.folder_splits(dataset.removeprefix(_FOLDER), labels_csv, holdout)
    from tf_simclr.data import tfds_source

    return tfds_source.tfds_splits(dataset, data_dir)


def default_eval_split(
    dataset: str, data_dir: str = "", labels_csv: str = "", holdout: Holdout = NOTHING
) -> str:
    """`test`, else `validation` (or `val`); UsageError where the data set has none of them."""
    found = eval_splits(dataset, data_dir, labels_csv, holdout)
    if found:
        return found[0]
    if not dataset.startswith(_FOLDER):
        others = ", ".join(name for name in available_splits(dataset, data_dir) if name != "train")
        choose = f"choose one by --eval_split (available: {others}), or slices" if others else "give slices"
        raise UsageError(f"--dataset={dataset} has no split test or validation: {choose}, as {_SLICES}")
    if holdout.share:
        raise UsageError(
            f"--dataset={dataset} has no split test or validation, and no two classes to hold images out of: "
            "give folders of classes or --labels, with two images in a class at least"
        )
    raise UsageError(
        f"--dataset={dataset} has no split test or validation: hold a part out by --holdout=0.2, put the "
        f"images in two folders, train and test, or give slices, as {_SLICES}"
    )


def eval_splits(
    dataset: str, data_dir: str = "", labels_csv: str = "", holdout: Holdout = NOTHING
) -> list[str]:
    """The splits that are there to be tested on, the first choice first."""
    splits = available_splits(dataset, data_dir, labels_csv, holdout)
    unlabelled = ("test",) if dataset.startswith("imagenet2012") else ()  # as TFDS has ImageNet
    return [name for name in EVAL_SPLITS if name in splits and name not in unlabelled]
