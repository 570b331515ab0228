"""The images that a training began with, kept in its run folder, so that their positions stay."""

from __future__ import annotations

import dataclasses
import zipfile
from typing import Any

import numpy as np
from etils import epath

from tf_simclr.data.holdout import Row
from tf_simclr.errors import UsageError
from tf_simclr.files import write_npz

NAME = "listing.npz"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Splits of a folder.

    Attributes:
      rows: (split, file, label) of the split that was opened, and of that held out of it.
      class_names: of the labels.
      sizes: bytes of each file.
      bad: files that were left out, and why.
      held_out: files of the split that `--holdout` made.
      ordered: the order of the rows is the source's over all splits, as a CSV has it.
    """

    rows: list[tuple[str, str, int]]
    class_names: list[str]
    sizes: dict[str, int]
    bad: dict[str, str]
    held_out: tuple[str, ...] = ()
    ordered: bool = False

    def splits(self) -> dict[str, list[Row]]:
        """The rows of each split."""
        found: dict[str, list[Row]] = {}
        for split, file, label in self.rows:
            found.setdefault(split, []).append((file, label))
        return found

    def class_name(self, label: int) -> str:
        return self.class_names[label] if label >= 0 else "none"

    def write(self, path: epath.Path) -> None:
        splits, files, labels = zip(*self.rows, strict=True)
        arrays = {
            "split": splits,
            "name": files,
            "size": [self.sizes[file] for file in files],
            "label": labels,
            "class_names": self.class_names,
            "bad": list(self.bad.items()),
            "held_out": self.held_out,
            "ordered": self.ordered,
        }
        write_npz(path, compress=True, **{name: _array(value) for name, value in arrays.items()})


def read(path: epath.Path) -> Listing | None:
    """None where there is none.

    Raises:
      UsageError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = {name: stored[name].tolist() for name in stored.files}
        return Listing(
            rows=list(zip(found["split"], found["name"], found["label"], strict=True)),
            class_names=found["class_names"],
            sizes=dict(zip(found["name"], found["size"], strict=True)),
            bad=dict(found["bad"]),
            held_out=tuple(found["held_out"]),
            ordered=found["ordered"],
        )
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is damaged ({error}); delete it and run the command again") from error


def _array(values: Any) -> np.ndarray:
    return np.array(values) if np.size(values) else np.array([], str)
