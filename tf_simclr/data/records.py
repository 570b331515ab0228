"""Sources: fixed sequences of encoded images, in their own order or in an epoch's.

A record is {"image": scalar string of encoded bytes, "label": int64 (-1 when there is none), "id": scalar
string, "index": int64, its position in the source's own order}. A source hands out *tickets*, which are cheap
to shuffle, skip and filter, and turns a ticket into its record only on `fetch`: an index where records can be
read one by one, the raw record itself in a stream.
"""

from __future__ import annotations

import abc
import copy
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import bad_images
from tf_simclr.data.bad_images import BadImages
from tf_simclr.data.census import Census
from tf_simclr.data.decoding import Boxes, Decoding, decode_for_boxes, decode_image, in_channels
from tf_simclr.data.listing import Listing
from tf_simclr.image_size import ImageSize

Record = dict[str, tf.Tensor]
UNLABELLED = -1
_RESERVE = 1000  # images of a stream that stand in for bad ones


class Source(abc.ABC):
    """A split of a data set.

    Attributes:
      name: what `--dataset` said.
      split: name of the split.
      version: a string that changes when the data do.
      num_examples: number of records, at least 1.
      class_names: one name a class; empty when unlabelled.
      num_classes: `len(class_names)`; 0 when unlabelled.
      multi_label: a label is a vector, int64 [num_classes]: 1 present, 0 absent, -1 does not count.
      channels: of the decoded images: 3, RGB, or 1, grey.
      held_out: ids of the images that `--holdout` made the split test, whichever split this is.
      stretches: (file, begin, end) of what a stream reads; empty of other sources.
      decoding: how its images are decoded.
      census: of the folder that it is from; None of other data sets.
      bad_images: those of the split that are known; a part of it shares them.
      listing: of the folder that it is from, for the run folder to keep; None of other data sets.
    """

    def __init__(self, name: str, split: str, version: str, num_examples: int, class_names: Sequence[str]):
        self.name = name
        self.split = split
        self.version = version
        self.num_examples = num_examples
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.multi_label = False
        self.channels = 3
        self.held_out: tuple[str, ...] = ()
        self.stretches: tuple[tuple[str, int, int], ...] = ()
        self.decoding = Decoding()
        self.census: Census | None = None
        self.bad_images = BadImages(f"--dataset={name}", num_examples)
        self.listing: Listing | None = None

    @abc.abstractmethod
    def tickets(self) -> tf.data.Dataset:
        """Tickets in the source's own order."""

    @abc.abstractmethod
    def shuffled_tickets(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        """Each ticket once, in an order that is a function of `seed` ([2] int64) alone.

        `buffer` bounds what a stream holds in memory; indexed sources draw a full permutation.
        """

    @abc.abstractmethod
    def shuffled_indices(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        """As `shuffled_tickets`, of the records' places in the source's own order; nothing is read."""

    @abc.abstractmethod
    def fetch(self, ticket: tf.Tensor | Record) -> Record:
        """The record of a ticket; runs inside tf.data."""

    @abc.abstractmethod
    def labels(self) -> np.ndarray:
        """Labels of all records, int64 [num_examples], without decoding an image; [n, C] if multi-label."""

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        """A record's image -> uint8 [h, w, channels]."""
        return in_channels(decode_image(image, self.decoding), self.channels)

    @abc.abstractmethod
    def replacements(self, ticket: Any) -> tf.data.Dataset:
        """Tickets of the images that are to be tried, in this order, in place of a bad one; in tf.data.

        They depend on its position in the source's own order alone.
        """

    def why_bad(self, image: bytes) -> str:
        """Why a record's image cannot be used; empty where it can."""
        return bad_images.why(image, self.decoding.max_pixels)

    def decode_for_boxes(
        self, image: tf.Tensor, boxes: Boxes, size: ImageSize
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The part of a record's image that holds the boxes, see `decoding.decode_for_boxes`."""
        pixels, inside = decode_for_boxes(image, boxes, size, self.decoding)
        return in_channels(pixels, self.channels), inside

    def records(self) -> tf.data.Dataset:
        """All records in order, images still encoded."""
        return self.tickets().map(self.fetch, num_parallel_calls=tf.data.AUTOTUNE)

    def names(self) -> list[str]:
        """Ids of all records."""
        return [record["id"].decode() for record in self.tickets().map(self.fetch).as_numpy_iterator()]

    def only(self, names: np.ndarray) -> Source:
        """The records of these ids (strings [n], in the source's order); itself where that is all."""
        if len(names) == self.num_examples:
            return self
        return self.subset(np.flatnonzero(np.isin(self.names(), names)))

    @abc.abstractmethod
    def with_labels_at(self, indices: np.ndarray) -> Source:
        """The same images, of which those at `indices` (int [n]) keep their label and others have none."""

    def subset(self, indices: np.ndarray) -> Source:
        """The records at `indices` (int [n], strictly increasing) as a source of its own.

        Those of a stream are held in memory, still encoded.
        """
        kept = tf.constant(_kept(self, indices))
        picked = (
            self.records()
            .enumerate()
            .filter(lambda i, _: kept[i])
            .map(lambda _, record: record)
            .take(len(indices))
        )
        rows = list(picked.as_numpy_iterator())
        part = MemorySource(
            self.name,
            self.split,
            _subset_version(self, indices),
            self.class_names,
            images=[row["image"] for row in rows],
            labels=[row["label"] for row in rows],
            ids=[row["id"] for row in rows],
        )
        part.multi_label, part.decoding, part.channels = self.multi_label, self.decoding, self.channels
        part.bad_images = self.bad_images
        return part


def _kept(source: Source, indices: np.ndarray) -> np.ndarray:
    """Which records are at `indices`, bool [n]."""
    kept = np.zeros(source.num_examples, bool)
    kept[indices] = True
    return kept


def _subset_version(whole: Source, indices: np.ndarray) -> str:
    digest = hashlib.sha256(np.asarray(indices, np.int64).tobytes()).hexdigest()[:12]
    return f"{whole.version}+{digest}"


class IndexedSource(Source):
    """A source that can read any record by its index; tickets are int64 indices."""

    def __init__(
        self,
        name: str,
        split: str,
        version: str,
        class_names: Sequence[str],
        *,
        labels: Sequence[int] | np.ndarray,
        ids: Sequence[str] | Sequence[bytes],
    ):
        super().__init__(name, split, version, len(ids), class_names)
        self._label(np.asarray(labels))
        with tf.device("CPU:0"):
            self._ids = tf.constant(list(ids))

    def tickets(self) -> tf.data.Dataset:
        return tf.data.Dataset.range(self.num_examples)

    def shuffled_tickets(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        return self.shuffled_indices(seed, buffer)

    def shuffled_indices(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        del buffer
        indices = tf.range(self.num_examples, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(indices, seed))

    def replacements(self, ticket: tf.Tensor) -> tf.data.Dataset:
        """Those behind it, the first one after the last."""
        return tf.data.Dataset.range(1, self.num_examples).map(
            lambda step: (ticket + step) % self.num_examples
        )

    def fetch(self, ticket: tf.Tensor) -> Record:
        label, name = self._label_tensor[ticket], self._ids[ticket]
        return {"image": self.read(ticket), "label": label, "id": name, "index": ticket}

    @abc.abstractmethod
    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Encoded bytes of one image, scalar string."""

    def labels(self) -> np.ndarray:
        return self._labels

    def ids(self) -> np.ndarray:
        """Ids of all records, bytes [num_examples]."""
        return self._ids.numpy()

    def names(self) -> list[str]:
        return [name.decode() for name in self.ids()]

    def index_of(self, name: str) -> int | None:
        """Where the record of an id is; None where there is none."""
        found = np.flatnonzero(self.ids() == name.encode())
        return int(found[0]) if len(found) else None

    def with_labels_at(self, indices: np.ndarray) -> Source:
        part = copy.copy(self)
        part.version = _subset_version(self, indices)
        part._label(np.where(_kept(self, indices), self._labels, UNLABELLED))
        return part

    def with_classes(self, labels: np.ndarray, class_names: Sequence[str]) -> IndexedSource:
        """The same images with other labels (int [n], -1 for none), which number `class_names`."""
        part = copy.copy(self)
        part.version = _subset_version(self, labels)
        part.class_names, part.num_classes = tuple(class_names), len(class_names)
        part._label(labels)
        return part

    def _label(self, labels: np.ndarray) -> None:
        self._labels = np.asarray(labels, np.int64)
        with tf.device("CPU:0"):
            self._label_tensor = tf.constant(self._labels)

    def subset(self, indices: np.ndarray) -> IndexedSource:
        return SubsetSource(self, indices)


class SubsetSource(IndexedSource):
    """Some records of an indexed source, read from there."""

    def __init__(self, whole: IndexedSource, indices: np.ndarray):
        super().__init__(
            whole.name,
            whole.split,
            _subset_version(whole, indices),
            whole.class_names,
            labels=whole.labels()[indices],
            ids=whole.ids()[indices],
        )
        self.multi_label, self.decoding = whole.multi_label, whole.decoding
        self.channels = whole.channels
        self.census, self.held_out = whole.census, whole.held_out
        self.bad_images, self.listing = whole.bad_images, whole.listing
        self._whole = whole
        with tf.device("CPU:0"):
            self._indices = tf.constant(indices, tf.int64)

    def read(self, index: tf.Tensor) -> tf.Tensor:
        return self._whole.read(self._indices[index])

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        return in_channels(self._whole.decode(image), self.channels)

    def why_bad(self, image: bytes) -> str:
        return self._whole.why_bad(image)

    def decode_for_boxes(
        self, image: tf.Tensor, boxes: Boxes, size: ImageSize
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, inside = self._whole.decode_for_boxes(image, boxes, size)
        return in_channels(pixels, self.channels), inside


class MemorySource(IndexedSource):
    """Encoded images held in memory."""

    def __init__(
        self,
        name: str,
        split: str,
        version: str,
        class_names: Sequence[str],
        *,
        images: Sequence[bytes],
        labels: Sequence[int] | np.ndarray,
        ids: Sequence[str] | Sequence[bytes],
    ):
        super().__init__(name, split, version, class_names, labels=labels, ids=ids)
        with tf.device("CPU:0"):
            self._images = tf.constant(list(images))

    def read(self, index: tf.Tensor) -> tf.Tensor:
        return self._images[index]


class FileSource(IndexedSource):
    """One file an image, below `root` (local, or any path that tf.io.gfile opens); ids are relative paths.

    `sizes` are their bytes, so that a replaced image is another version; zeros of a remote store.
    """

    def __init__(
        self,
        name: str,
        split: str,
        class_names: Sequence[str],
        *,
        root: str,
        labels: Sequence[int] | np.ndarray,
        ids: Sequence[str],
        sizes: Sequence[int],
    ):
        self._root = root.rstrip("/") + "/"
        rows = zip(ids, labels, sizes, strict=True)
        listing = "\n".join(f"{id_}\t{label}\t{size}" for id_, label, size in rows)
        version = hashlib.sha256(listing.encode()).hexdigest()[:12]
        super().__init__(name, split, version, class_names, labels=labels, ids=ids)

    def read(self, index: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(self._root + self._ids[index])


class StreamSource(Source):
    """Records that can only be read one after another; tickets are the records, still encoded."""

    def __init__(
        self,
        name: str,
        split: str,
        version: str,
        class_names: Sequence[str],
        *,
        stream: tf.data.Dataset,
        num_examples: int,
    ):
        super().__init__(name, split, version, num_examples, class_names)
        self._stream = stream.enumerate().map(lambda index, record: {**record, "index": index})

    def tickets(self) -> tf.data.Dataset:
        return self._stream

    def shuffled_tickets(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        return _shuffled(self._stream, seed, buffer)

    def shuffled_indices(self, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
        return _shuffled(tf.data.Dataset.range(self.num_examples), seed, buffer)

    def replacements(self, ticket: Record) -> tf.data.Dataset:
        """Of the first thousand, since a stream is read from its beginning: from position i mod 1,000 on."""
        first = min(_RESERVE, self.num_examples)
        begin = ticket["index"] % first
        reserve = self._stream.take(first)
        return reserve.skip(begin).concatenate(reserve.take(begin))

    def fetch(self, ticket: Record) -> Record:
        return ticket

    def labels(self) -> np.ndarray:
        return self._all_labels

    def with_labels_at(self, indices: np.ndarray) -> Source:
        part = copy.copy(self)
        part.__dict__.pop("_all_labels", None)
        part.version = _subset_version(self, indices)
        with tf.device("CPU:0"):
            kept = tf.constant(_kept(self, indices))
        hidden = tf.constant(UNLABELLED, tf.int64)
        part._stream = self._stream.map(
            lambda record: {**record, "label": tf.where(kept[record["index"]], record["label"], hidden)}
        )
        return part

    @functools.cached_property
    def _all_labels(self) -> np.ndarray:
        batches = self._stream.map(lambda record: record["label"]).batch(1024)
        return np.concatenate(list(batches.as_numpy_iterator()))


def _shuffled(rows: tf.data.Dataset, seed: tf.Tensor, buffer: int) -> tf.data.Dataset:
    """In an order that depends on the number of rows, `seed` and `buffer` alone.

    tf.data mixes the program's global seed into its own (and fails where that is 0); when traced, this sets
    the graph's instead.
    """
    if not tf.executing_eagerly():
        tf.random.set_seed(1)
    number = tf.random.stateless_uniform([], seed, minval=None, maxval=None, dtype=tf.int64)
    return rows.shuffle(buffer, seed=number, reshuffle_each_iteration=False)
