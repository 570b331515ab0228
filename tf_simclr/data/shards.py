"""Whether the TFRecord files of a TFDS data set are what its dataset_info.json says.

A file that is missing, empty, or of another size is found when a data set is opened; one whose bytes are
wrong when it is read. Only then records are counted, or read, to name the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from tf_simclr.data.records import Source
from tf_simclr.errors import Damaged

_FRAME = 16  # bytes of a record beside its own: length and two checksums
ADVICE = "copy it anew, or prepare the data set again"
DAMAGE = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError)
"""What reading such files raises: broken bytes, a missing file, fewer records than TFDS expects."""


def require_whole(dataset: str, split: Any, read: Collection[str]) -> None:
    """Refuses a split of which a file that is read is missing, empty, or cut.

    Local disks are asked for sizes, remote ones for nothing.

    Args:
        dataset: what --dataset said.
        split: TFDS's SplitInfo of a whole split.
        read: the files that are read; a slice needs no others.

    Raises:
        Damaged: with the file.
    """
    counts = dict(zip(map(os.fspath, split.filepaths), split.shard_lengths, strict=True))
    wanted = {file: count for file, count in counts.items() if file in read}
    if not wanted or split.filename_template.filetype_suffix != "tfrecord" or "://" in min(wanted):
        return
    for file, count in wanted.items():
        if not os.path.exists(file):
            raise Damaged(f"--dataset={dataset}: {file} is missing; {ADVICE}")
        if count and not os.path.getsize(file):
            raise Damaged(f"--dataset={dataset}: {file} is empty; {ADVICE}")
    sizes = [os.path.getsize(file) for file in counts if os.path.exists(file)]
    if sum(sizes) != split.num_bytes + _FRAME * split.num_examples:
        _require_counts(dataset, wanted)


def _require_counts(dataset: str, counts: Mapping[str, int]) -> None:
    """Damaged with the first file whose records are not as many as dataset_info.json says."""
    for file, count in counts.items():
        found, rest = _count(file)
        if found != count or rest:
            cut = f" and {rest:,} bytes of another" if rest else ""
            raise Damaged(
                f"--dataset={dataset}: {file} holds {found:,} whole records{cut}, dataset_info.json says "
                f"{count:,}; {ADVICE}"
            )


def _count(file: str) -> tuple[int, int]:
    """Whole records by their lengths, and bytes left behind them."""
    size, position, found = os.path.getsize(file), 0, 0
    with open(file, "rb") as opened:
        while position < size:
            opened.seek(position)
            head = opened.read(8)
            end = position + _FRAME + (struct.unpack("<Q", head)[0] if len(head) == 8 else 0)
            if len(head) < 8 or end > size:
                break
            position, found = end, found + 1
    return found, size - position


def damaged(source: Source) -> Damaged | None:
    """The error that names the first file of a stream that cannot be read to its end; reads all of them."""
    for file in dict.fromkeys(file for file, _, _ in source.stretches):
        count = 0
        try:
            for _ in tf.data.TFRecordDataset(file, buffer_size=2**20):
                count += 1
        except DAMAGE:
            return Damaged(f"--dataset={source.name}: {file} is damaged behind record {count:,}; {ADVICE}")
    return None
