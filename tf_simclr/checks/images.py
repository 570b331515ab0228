"""`doctor --data`: every image of a data set is decoded, and what is wrong with any is said."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.data import Source, skipping
from tf_simclr.data.records import IndexedSource
from tf_simclr.inputs import bad_images
from tf_simclr.progress import progress_bar

TOGETHER = 512  # images, decoded by all cores
SHOWN = 20  # lines
_WARNING = re.compile(
    rb"Corrupt JPEG data: .*|Premature end of JPEG file.*|.*extraneous bytes before marker.*"
)


def report(config: Config) -> tuple[list[str], bool]:
    """Lines that name bad images and those that libjpeg warns of, and whether there are more than are borne.

    bad_images.csv is written where --model_dir says.
    """
    generous = config.replace(on_bad_image="skip", max_bad_images=float(2**31), holdout=0.0)
    sources = [inputs.any_split(generous, split) for split in inputs.available_splits(generous)]
    lines, many = [], False
    rows: dict[str, tuple[str, str]] = {}
    for source in sources:
        count = source.num_examples
        warned = look(source)
        own = source.bad_images
        own.policy = bad_images.policy(config.data)
        many |= own.over() is not None
        lines.append(
            f"{source.split}: {count:,} images read, {len(own.rows):,} bad ones, of {own.total:,} files; "
            f"{len(warned):,} damaged ones that decode; borne: {own.policy.allowed(own.total):,}"
        )
        rows |= own.rows | {
            name: (f"decodes, with a warning: {text}", "doctor") for name, text in warned.items()
        }
    lines += [f"  {name}: {reason}" for name, (reason, _) in sorted(rows.items())[:SHOWN]]
    lines += [f"  and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else []
    if config.run.model_dir:
        path = epath.Path(config.run.model_dir)
        path.mkdir(parents=True, exist_ok=True)
        bad_images.write_rows(path, rows)
        lines.append(f"all of them in {path / bad_images.NAME}")
    return lines, many


def look(source: Source) -> dict[str, str]:
    """Notes the bad images of `source`; what libjpeg says of those that it decodes all the same, by name."""
    warned: dict[str, str] = {}
    chunks = source.tickets().batch(TOGETHER)
    with progress_bar(total=source.num_examples, unit=" images", desc=f"reading {source.split}") as bar:
        for tickets in chunks:
            rows = tf.data.Dataset.from_tensor_slices(tickets)
            with _caught() as said:
                good = set(_decoded(source, rows))
            for place, ticket in enumerate(rows.as_numpy_iterator()):
                if place not in good:
                    skipping.note(source, ticket, "doctor")
                elif said and (text := _said_of(source, rows.skip(place).take(1))):
                    warned[_name(source, ticket)] = text
                bar.update(1)
    return warned


def _decoded(source: Source, rows: tf.data.Dataset) -> Iterator[int]:
    """Places of the rows whose images decode."""

    def decode(place: tf.Tensor, ticket: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return place, tf.shape(source.decode(source.fetch(ticket)["image"]))

    made = rows.enumerate().map(decode, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    return (int(place) for place, _ in made.as_numpy_iterator())


def _said_of(source: Source, row: tf.data.Dataset) -> str:
    """What libjpeg says of one image."""
    with _caught() as said:
        list(_decoded(source, row))
    return said[0] if said else ""


@contextlib.contextmanager
def _caught() -> Iterator[list[str]]:
    """libjpeg's warnings: it writes them to the process's standard error, without a name."""
    said: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += [line.decode(errors="replace") for line in _WARNING.findall(file.read())]


def _name(source: Source, ticket: Any) -> str:
    name = source.ids()[int(ticket)] if isinstance(source, IndexedSource) else ticket["id"]
    return str(np.bytes_(name).decode(errors="backslashreplace"))
