"""`--holdout`: the test images of a labelled data set that has no test split.

Which images these are depends on their names and on a seed of its own: every run of the same data holds out
the same ones, whatever its seed is, and few change when images are added.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable

Row = tuple[str, int]  # file, label

EVAL_SPLITS = ("test", "validation", "val")  # the first choice first


@dataclasses.dataclass(frozen=True)
class Holdout:
    """`share` of each class, in [0, 1), is the split `test` and the rest `train`; 0: nothing is held out."""

    share: float = 0.0
    seed: int = 0

    def concerns(self, splits: Collection[str]) -> bool:
        """Whether data with these splits have none to test on, and one to hold images out of."""
        return self.share > 0 and "train" in splits and not set(splits) & set(EVAL_SPLITS)

    def divide(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The rows to train on and those to test on, in their order; none of these without two classes.

        A class gives `share` of its files, rounded: at least one, and at most all but one. Files without a
        label are trained on.
        """
        held = self._held(rows)
        return [row for row in rows if row[0] not in held], [row for row in rows if row[0] in held]

    def _held(self, rows: list[Row]) -> set[str]:
        members: dict[int, set[str]] = {}
        for file, label in rows:
            if label >= 0:
                members.setdefault(label, set()).add(file)
        if len(members) < 2:
            return set()
        held: set[str] = set()
        for files in members.values():
            count = min(max(round(self.share * len(files)), 1), len(files) - 1)
            held.update(shuffled(files, f"holdout {self.seed}")[:count])
        return held


NOTHING = Holdout()


def shuffled(names: Iterable[str], salt: str) -> list[str]:
    """Names in a pseudo-random order in which the place of two does not depend on the others."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt} {name}".encode()).digest())
