"""Images decoded once, as uint8 pixels in memory or in files (`--cache_dataset`, `--cache_dir`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.data import skipping
from tf_simclr.data.decoding import Boxes, boxes_in
from tf_simclr.data.records import IndexedSource, MemorySource, Record, Source
from tf_simclr.data.views import shrink_to_cover
from tf_simclr.errors import UsageError
from tf_simclr.files import write_npz, write_whole
from tf_simclr.image_size import ImageSize, height_and_width, read_size
from tf_simclr.progress import progress_bar

_CACHED_SIZE = 1.15  # that a cached image covers, in units of the image size
_FILES_A_FOLDER = 1000
_BAD = b"\x07"  # begins what is kept in place of a bad image, its reason behind: no tensor begins so
_FORMAT = "1"  # of the pixels and their files: another one reads none of the old files


def cached(source: Source, image_size: ImageSize, folder: str = "") -> IndexedSource:
    """The source decoded once, as uint8, shrunk as far as an image covers 1.15 * image_size.

    Crops are then taken from the shrunken image: the smallest ones are enlarged from fewer pixels.

    Args:
      image_size: of the views that will be taken.
      folder: where to keep the pixels, a file an image, for this and later runs; empty: in memory.

    Raises:
      UsageError: the folder cannot be written.
    """
    size = cached_size(image_size)
    if not folder:
        rows = sorted(_decoded(source, size), key=lambda row: row[0])
        _, images, labels, ids = zip(*rows, strict=True)
        return _as(source, _DecodedInMemory(*_described(source), images=images, labels=labels, ids=ids))
    path = epath.Path(folder) / _key(source, size)
    index = path / "index.npz"
    try:
        if not index.exists():
            _write(source, size, path, index)
        with index.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            labels, ids = stored["labels"], stored["ids"].tolist()
        return _as(source, _DecodedInFiles(*_described(source), root=str(path), labels=labels, ids=ids))
    except tf.errors.InvalidArgumentError:
        raise  # an image that cannot be decoded: not the folder's fault
    except (OSError, tf.errors.OpError) as error:
        raise UsageError(f"--cache_dir={folder}: cannot be used ({str(error)[:200]})") from error


def cached_size(image_size: ImageSize) -> int | str:
    """What an image that is kept for views of `image_size` covers, 1.15 times that."""
    height, width = (round(_CACHED_SIZE * side) for side in height_and_width(image_size))
    return read_size(f"{height}x{width}")


class _Decoded(Source):
    """Records whose image is a serialized tensor of pixels."""

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.parse_tensor(image, tf.uint8), [None, None, self.channels])

    def why_bad(self, image: bytes) -> str:
        return image.removeprefix(_BAD).decode() if image.startswith(_BAD) else ""

    def decode_for_boxes(
        self, image: tf.Tensor, boxes: Boxes, size: ImageSize
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return boxes_in(self.decode(image), boxes)


class _DecodedInMemory(_Decoded, MemorySource):
    pass


class _DecodedInFiles(_Decoded, IndexedSource):
    def __init__(self, *described: Any, root: str, labels: np.ndarray, ids: list[bytes]):
        super().__init__(*described, labels=labels, ids=ids)
        self._root = root

    def read(self, index: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(_file(self._root, index))


def _described(source: Source) -> tuple[Any, ...]:
    return source.name, source.split, source.version, source.class_names


def _as(source: Source, decoded: IndexedSource) -> IndexedSource:
    decoded.multi_label, decoded.channels = source.multi_label, source.channels
    decoded.bad_images = source.bad_images
    return decoded


def _key(source: Source, size: int | str) -> str:
    """Name of the folder for all that the pixels depend on."""
    parts = [_FORMAT, source.name, source.split, source.version, str(source.num_examples), str(size)]
    if source.decoding.upright:
        parts.append("upright")
    if source.channels == 1:
        parts.append("grey")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _file(root: str, index: tf.Tensor) -> tf.Tensor:
    folder, name = (tf.strings.as_string(number) for number in (index // _FILES_A_FOLDER, index))
    return tf.strings.join([root, "/", folder, "/", name])


def _write(source: Source, size: int | str, path: epath.Path, index: epath.Path) -> None:
    """Writes a file an image and, last, the index: without it the folder counts as empty."""
    for number in range(0, source.num_examples, _FILES_A_FOLDER):
        (path / str(number // _FILES_A_FOLDER)).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, image, label, name in _decoded(source, size):
        write_whole(path / str(number // _FILES_A_FOLDER) / str(number), image)
        rows.append((number, label, name))
    _, labels, ids = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    write_npz(index, labels=np.array(labels), ids=np.array(ids, np.bytes_))


def _decoded(source: Source, size: int | str) -> Iterator[tuple[int, bytes, np.ndarray, bytes]]:
    """(position, serialized pixels, label, id) of every record; bad ones last, with the reason for pixels."""

    def decoded(ticket: Any) -> Record:
        record = source.fetch(ticket)
        pixels = shrink_to_cover(source.decode(record["image"]), size)
        return {**record, "image": tf.io.serialize_tensor(pixels)}

    records = source.tickets().map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    if source.bad_images.policy.skip:
        records = records.ignore_errors()
    bar = progress_bar(
        records.prefetch(tf.data.AUTOTUNE).as_numpy_iterator(),
        "caching",
        total=source.num_examples,
        leave=False,
        delay=5,
        unit=" images",
    )
    bad = set(range(source.num_examples))
    for row in bar:
        bad.remove(int(row["index"]))
        yield int(row["index"]), row["image"], row["label"], row["id"]
    if bad:
        yield from _bad(source, np.array(sorted(bad)))


def _bad(source: Source, indices: np.ndarray) -> Iterator[tuple[int, bytes, np.ndarray, bytes]]:
    """As `_decoded`, of images that cannot be."""
    labels = source.labels()
    for index, _, name in skipping.noted(source, indices):
        reason = source.bad_images.rows[name][0]
        yield index, _BAD + reason.encode(), labels[index], name.encode()
