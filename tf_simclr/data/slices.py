"""Splits joined by + and slices of them, in TFDS's words, of data whose files can be listed.

A folder lists its files class by class, so that a slice of that order would hold a few classes only. It is
taken of a pseudo-random order instead, that of a hash of the names, and given in the split's own: slices that
do not overlap are disjoint, and those that cover a split are the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tf_simclr.data.holdout import shuffled
from tf_simclr.errors import UsageError

Member = TypeVar("Member")


def names(spec: str) -> list[str]:
    """The splits that `spec` takes or slices."""
    return [part.partition("[")[0].strip() for part in spec.split("+")]


def select(
    dataset: str,
    spec: str,
    splits: Mapping[str, Callable[[], Sequence[Member]]],
    name: Callable[[Member], str],
) -> list[Member]:
    """The members of the splits and slices in `spec`, such as `train[:80%]` or `train+validation[10:20]`.

    Args:
      dataset: what `--dataset` said, for mistakes.
      splits: what lists the members of each split.
      name: a member's own name; members of one name stay together.

    Raises:
      UsageError: there is no such split, or no such slice of it.
    """
    chosen: list[Member] = []
    for part in spec.split("+"):
        split = part.partition("[")[0].strip()
        if split not in splits:
            raise UsageError(f"--dataset={dataset} has no split {part!r}; available: {', '.join(splits)}")
        members = splits[split]()
        if "[" in part:
            names = shuffled({name(member) for member in members}, "slice")
            wanted = set(names[_bounds(dataset, part.strip(), split, len(names))])
            members = [member for member in members if name(member) in wanted]
        chosen += members
    return chosen


def _bounds(dataset: str, part: str, split: str, count: int) -> slice:
    """Where a slice of `count` images begins and ends."""
    import tensorflow_datasets as tfds

    info = tfds.core.SplitInfo(name=split, shard_lengths=[count], num_bytes=0)
    try:
        (found,) = tfds.core.ReadInstruction.from_spec(part).to_absolute({split: info})
    except ValueError as error:
        raise UsageError(
            f"--dataset={dataset} has no split {part!r}: {split} has {count:,} images; slices are written as "
            "train[:80%], train[80%:] or train[10:100]"
        ) from error
    return slice(found.from_, found.to)
