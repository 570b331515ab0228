"""Opening a data set by the name that `--dataset` gives it."""

from __future__ import annotations

from tf_simclr.data import digits, folder
from tf_simclr.data.records import Source
from tf_simclr.errors import UsageError

_FOLDER = "folder:"


def open_source(
    dataset: str, split: str, data_dir: str = "", labels_csv: str = "", channels: int = 3
) -> Source:
    """Opens one split of a data set.

    Args:
      dataset: `digits`, `folder:PATH`, or a TFDS name with version or config (`cifar10:3.0.2`,
        `imagenet2012_subset/1pct`).
      split: one of `available_splits`; TFDS also takes slices such as `train[:10%]`; TFDS and
        folders several, joined by +.
      data_dir: where TFDS keeps its data; empty for TFDS's own default.
      labels_csv: a CSV of file,label for a folder; files are relative to PATH.
      channels: 3, RGB, or 1: the images in grey.

    Raises:
      UsageError: unknown data set, folder or split, an empty split, data that can't be prepared, a bad CSV.
    """
    source = _opened(dataset, split, data_dir, labels_csv)
    source.channels = channels
    return source


def _opened(dataset: str, split: str, data_dir: str, labels_csv: str) -> Source:
    is_folder = dataset.startswith(_FOLDER)
    if labels_csv and not is_folder:
        raise UsageError(f"--labels={labels_csv} goes with --dataset=folder:PATH only, not with {dataset}")
    if dataset != "digits" and not is_folder:
        from tf_simclr.data import tfds_source

        return tfds_source.open_tfds(dataset, split, data_dir)
    splits = available_splits(dataset, data_dir)
    if not set(split.split("+") if is_folder else [split]) <= set(splits):
        slices = "; slices are for TFDS data" if "[" in split else ""
        raise UsageError(
            f"--dataset={dataset} has no split {split!r}; available: {', '.join(splits)}{slices}"
        )
    if is_folder:
        return folder.open_folder(dataset.removeprefix(_FOLDER), split, labels_csv)
    return digits.open_digits(split)


def available_splits(dataset: str, data_dir: str = "") -> tuple[str, ...]:
    """Names of a data set's splits."""
    if dataset == "digits":
        return digits.SPLITS
    if dataset.startswith(_FOLDER):
        return folder.folder_splits(dataset.removeprefix(_FOLDER))
    from tf_simclr.data import tfds_source

    return tfds_source.tfds_splits(dataset, data_dir)


def default_eval_split(dataset: str, data_dir: str = "") -> str:
    """`test`, else `validation` (or `val`); UsageError where the data set has none of them."""
    found = eval_splits(dataset, data_dir)
    if not found and dataset.startswith(_FOLDER):
        raise UsageError(
            f"--dataset={dataset} has no split test or validation: put its images in two folders, train "
            "and test, or evaluate on all by --eval_split=train"
        )
    if not found:
        raise UsageError(
            f"--dataset={dataset} has no split test or validation: choose one by --eval_split "
            f"(available: {', '.join(available_splits(dataset, data_dir))})"
        )
    return found[0]


def eval_splits(dataset: str, data_dir: str = "") -> list[str]:
    """The splits that are there to be tested on, the first choice first."""
    splits = available_splits(dataset, data_dir)
    unlabelled = ("test",) if dataset.startswith("imagenet2012") else ()  # as TFDS has ImageNet
    return [name for name in ("test", "validation", "val") if name in splits and name not in unlabelled]
