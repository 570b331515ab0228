"""Examples of all images that can be decoded, without Python and at no cost where all can.

Rows are made in chunks by a data set within the map's function, which leaves out what fails; where one is
missing, a cold branch puts the example of another image in its place, or tells the host that it is left out.
A bad image is replaced by the next one of the source's own order that is good (`Source.replacements`), with
the numbers drawn for its place: what a row holds depends on the data and its position alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data.records import IndexedSource, Source
from tf_simclr.errors import UsageError

Example = dict[str, tf.Tensor]
_CHUNK = 20_000_000  # bytes of examples that a thread makes together: each chunk costs 200 us of its own
_MOST_ROWS = 256
TRIED = 1000  # images in place of one


@dataclasses.dataclass(frozen=True)
class How:
    """What becomes of rows whose image is bad.

    Attributes:
      endless: there are always more rows, and all batches are whole.
      replace: a bad image gives its place to another one; else it is left out.
      report: it is noted in `source.bad_images`, by this process's Python.
      found: where it was found.
      row_bytes: of an example, about.
    """

    endless: bool
    replace: bool
    report: bool
    found: str
    row_bytes: int


def batches(
    source: Source,
    rows: tf.data.Dataset,
    example: Callable[[Any, tf.Tensor], Example],
    batch_size: int,
    how: How,
) -> tf.data.Dataset:
    """Batches of `example(record, numbers)` of the rows (ticket, numbers).

    Where `source.bad_images` are not to be skipped, one is an error.
    """

    def of_row(place: tf.Tensor, ticket: Any, numbers: tf.Tensor) -> Any:
        return place, example(source.fetch(ticket), numbers)

    if not source.bad_images.policy.skip:
        each = rows.map(lambda *row: of_row(0, *row)[1], num_parallel_calls=tf.data.AUTOTUNE)
        return each.batch(batch_size, drop_remainder=how.endless)
    size = max(1, min(_CHUNK // how.row_bytes, _MOST_ROWS, batch_size))
    chunks = rows.batch(size, drop_remainder=how.endless)

    @tf.autograph.experimental.do_not_convert  # which takes a second
    def of_chunk(*chunk: Any) -> Example:
        return _made(source, chunk, of_row, how)

    made = chunks.map(of_chunk, num_parallel_calls=tf.data.AUTOTUNE)
    if how.endless:
        made = made.map(lambda batch: tf.nest.map_structure(lambda part: _of_length(part, size), batch))
    return made.rebatch(batch_size, drop_remainder=how.endless)


def _made(source: Source, chunk: Any, of_row: Callable[..., Any], how: How) -> Example:
    """The examples of a chunk of rows."""
    count = tf.shape(chunk[1], tf.int64)[0]
    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), *chunk))
    places, good = _all_good(rows.map(of_row))
    return tf.cond(
        tf.shape(places, tf.int64)[0] == count,
        lambda: good,
        lambda: _mended(source, rows, places, good, of_row, how),
    )


def _mended(
    source: Source,
    rows: tf.data.Dataset,
    places: tf.Tensor,
    good: Example,
    of_row: Callable[..., Any],
    how: How,
) -> Example:
    """The examples of a chunk in which some are missing."""
    bad = rows.filter(lambda place, *_: tf.reduce_all(places != place))
    if how.report:
        bad = bad.map(lambda place, ticket, numbers: (_noted(source, place, ticket, how), ticket, numbers))
    if not how.replace:
        told = bad.reduce(tf.constant(0, tf.int64), lambda total, row: total + row[0])
        with tf.control_dependencies([told]):
            return tf.nest.map_structure(tf.identity, good)

    def replaced(place: tf.Tensor, ticket: Any, numbers: tf.Tensor) -> Any:
        others = source.replacements(ticket).take(TRIED).map(lambda other: of_row(place, other, numbers))
        return others.ignore_errors().take(1).get_single_element()

    other_places, others = _all_good(bad.map(replaced))
    order = tf.argsort(tf.concat([places, other_places], axis=0))
    return tf.nest.map_structure(lambda *parts: tf.gather(tf.concat(parts, axis=0), order), good, others)


def _all_good(rows: tf.data.Dataset) -> Any:
    """The rows that can be made, as one batch; it may be empty."""
    spec = rows.element_spec
    none = tf.nest.map_structure(
        lambda part: tf.zeros([0, *(side or 0 for side in part.shape)], part.dtype), spec
    )
    batch = rows.ignore_errors().batch(_MOST_ROWS)
    return batch.concatenate(tf.data.Dataset.from_tensors(none)).take(1).get_single_element()


def _of_length(part: tf.Tensor, length: int) -> tf.Tensor:
    return tf.ensure_shape(part, [length, *part.shape[1:]])


def _noted(source: Source, place: tf.Tensor, ticket: Any, how: How) -> tf.Tensor:
    """`place`, after the host has noted why the image of the ticket is bad."""

    def call(place: Any, *parts: Any) -> Any:
        note(source, tf.nest.pack_sequence_as(ticket, parts), how.found)
        if how.found == "evaluation":
            source.bad_images.require_few()
        return place

    return tf.ensure_shape(tf.numpy_function(call, [place, *tf.nest.flatten(ticket)], tf.int64), [])


def stand_ins(source: Source, bad: np.ndarray) -> np.ndarray:
    """The position of the image that `batches` shows at each position, int64 [N]: its own, where it is good.

    Args:
      bad: bool [N]; these are noted.

    Raises:
      UsageError: there are more than are borne, or nothing can stand in for one.
    """
    shown = np.arange(source.num_examples)
    for index, ticket, name in noted(source, np.flatnonzero(bad)):
        others = source.replacements(ticket).take(TRIED).as_numpy_iterator()
        places = (int(other if isinstance(source, IndexedSource) else other["index"]) for other in others)
        shown[index] = next((place for place in places if not bad[place]), index)
        if shown[index] == index:
            raise UsageError(f"{source.bad_images.flags}: no good image is near {name!r}, which is bad")
    return shown


def noted(source: Source, indices: np.ndarray) -> Iterator[tuple[int, Any, str]]:
    """(position, ticket, name) of the bad images at `indices` (int [n]), which it notes.

    Raises:
      UsageError: there are more than are borne.
    """
    if not len(indices):
        return
    wanted = tf.constant(np.isin(np.arange(source.num_examples), indices))
    tickets = source.tickets().enumerate().filter(lambda index, _: wanted[index])
    for index, ticket in tickets.as_numpy_iterator():
        name = note(source, ticket, "training")
        source.bad_images.require_few()
        yield int(index), ticket, name


def note(source: Source, ticket: Any, found: str) -> str:
    """Notes that the image of a ticket, of numbers and bytes, is bad, and why; its name."""
    name = source.ids()[int(ticket)] if isinstance(source, IndexedSource) else ticket["id"]
    name = name.decode(errors="backslashreplace")
    if not source.bad_images.knows(name):
        source.bad_images.note(name, _reason(source, ticket), found)
    return str(name)


def _reason(source: Source, ticket: Any) -> str:
    try:
        if isinstance(source, IndexedSource):
            encoded = source.read(tf.constant(int(ticket), tf.int64)).numpy()
        else:
            encoded = ticket["image"]
    except tf.errors.NotFoundError:
        return "gone"
    except tf.errors.OpError:
        return "cannot be read"
    return source.why_bad(encoded) or "decodes, but no view can be made of it"
