"""The images of a folder, written once more with no more pixels than views of a size need.

The recipe is FFCV's (Leclerc et al., 2023, arXiv:2306.12517): a bound on the sides, and JPEG of quality 95.
Every file keeps its name, whatever it says of the format, and so its label and its place in the order.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf

from tf_simclr.data import skipping
from tf_simclr.data.bad_images import Policy
from tf_simclr.data.cache import cached_size
from tf_simclr.data.folder import open_folder
from tf_simclr.data.records import IndexedSource, Source
from tf_simclr.data.views import shrink_to_cover
from tf_simclr.data.walk import Walk
from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole
from tf_simclr.image_size import ImageSize
from tf_simclr.progress import progress_bar

SETTINGS = ".shrunk.json"  # hidden: no image, and what the folder came from
_ALL_BAD = Policy(skip=True, most=float(2**31))


@dataclasses.dataclass
class Written:
    """Images: how many there are now, of which `shrunk` in this run; bytes, before and after, of these."""

    images: int = 0
    shrunk: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def is_whole(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a folder is what these settings make; False where there is none.

    Raises:
        UsageError: it is something else.
    """
    if not folder.exists():
        return False
    if _settings_of(folder) != dict(settings):
        raise UsageError(f"--output_dir={folder}: is there already, and not of these flags; give another one")
    return True


def write(
    sources: Sequence[Source],
    root: str,
    folder: Path,
    settings: Mapping[str, Any],
    image_size: ImageSize,
    quality: int,
    labels_csv: str = "",
) -> Written:
    """Shrinks the splits of the folder `root` into `folder`, which is there when all of it is.

    Until then they lie in a hidden folder beside it, where the same call goes on after an end by force.

    Raises:
        UsageError: more bad images than are borne, or images that would be read otherwise than before.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    _begin(partial, settings)
    _make_folders(Walk(root), partial)
    written, of_folder = Written(), [cast(IndexedSource, source) for source in sources]
    for source in of_folder:
        _write_split(source, partial, image_size, quality, written)
    for source in of_folder:
        _require_same(source, partial, labels_csv)
    for left in partial.rglob(".*.partial"):  # of a file, at an end by force
        left.unlink()
    partial.rename(folder)
    return written


def _begin(partial: Path, settings: Mapping[str, Any]) -> None:
    """The hidden folder, new or of the same settings."""
    if partial.exists() and _settings_of(partial) not in (None, dict(settings)):
        raise UsageError(f"--output_dir: {partial} was begun with other flags; give those, or remove it")
    partial.mkdir(parents=True, exist_ok=True)
    write_whole(partial / SETTINGS, json.dumps(settings, indent=2) + "\n")


def _settings_of(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / SETTINGS).read_text()))
    except (OSError, ValueError):
        return None


def _make_folders(walk: Walk, partial: Path) -> None:
    """All that can be a split or a class, also where no image of it is good: classes are numbered by them."""
    for name in walk("").folders:
        for inner in ("", *walk(name).folders):
            (partial / name / inner).mkdir(parents=True, exist_ok=True)


def _write_split(
    source: IndexedSource, partial: Path, image_size: ImageSize, quality: int, written: Written
) -> None:
    missing = {i for i, name in enumerate(source.names()) if not (partial / name).exists()}
    written.images += source.num_examples - len(missing)
    rows = progress_bar(
        _shrunk(source, np.array(sorted(missing), np.int64), image_size, quality),
        f"shrinking {source.split}",
        initial=source.num_examples - len(missing),
        total=source.num_examples,
        leave=False,
        delay=5,
        unit=" images",
    )
    names = source.names()
    for row in rows:
        index, image = int(row["index"]), row["image"]
        missing.remove(index)
        (partial / names[index]).parent.mkdir(parents=True, exist_ok=True)
        write_whole(partial / names[index], image)
        written.images += 1
        written.shrunk += int(row["is_shrunk"])
        written.bytes_before += int(row["bytes"])
        written.bytes_after += len(image)
    for index in sorted(missing):
        skipping.note(source, index, "shrinking")
        source.bad_images.require_few()


def _shrunk(
    source: IndexedSource, indices: np.ndarray, image_size: ImageSize, quality: int
) -> Iterator[dict[str, Any]]:
    """Of each image that can be decoded: its new bytes, which are the old ones where it is no larger."""
    size = cached_size(image_size)

    def shrink(index: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = source.read(index)
        pixels = source.decode(encoded)
        smaller = shrink_to_cover(pixels, size)
        is_shrunk = tf.reduce_any(tf.shape(smaller) < tf.shape(pixels))
        image = tf.cond(is_shrunk, lambda: tf.io.encode_jpeg(smaller, quality=quality), lambda: encoded)
        return {"index": index, "image": image, "is_shrunk": is_shrunk, "bytes": tf.strings.length(encoded)}

    images = tf.data.Dataset.from_tensor_slices(indices).map(shrink, num_parallel_calls=os.cpu_count())
    yield from images.ignore_errors().prefetch(64).as_numpy_iterator()


def _require_same(source: IndexedSource, partial: Path, labels_csv: str) -> None:
    """Opens what was written as `--dataset` will; UsageError where names, labels or classes differ."""
    bad = source.bad_images.rows
    names, labels = source.names(), source.labels()
    good = [i for i, name in enumerate(names) if name not in bad]
    if not good:
        return
    again = open_folder(str(partial), source.split, labels_csv, policy=_ALL_BAD)
    same = [names[i] for i in good] == again.names() and labels[good].tolist() == again.labels().tolist()
    if not same or again.class_names != source.class_names:
        raise UsageError(
            f"--dataset={source.name}: split {source.split} would be read otherwise from what was written, "
            f"{partial}; --labels must name files below the folder, and its folders hold good images"
        )
