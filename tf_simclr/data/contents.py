"""What a folder of images holds, before any of it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tf_simclr.data.holdout import Row

Splits = dict[str, Callable[[], list[Row]]]
"""What lists the rows of each split; a row's file is a path below PATH."""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a folder holds.

    `prefixes` are where its splits lie, `order` the rows in the CSV's order, `held_out` the files of the
    split test where that is made of train's.
    """

    splits: Splits
    class_names: list[str]
    prefixes: dict[str, str]
    order: Sequence[Row] | None = None
    held_out: tuple[str, ...] = ()
