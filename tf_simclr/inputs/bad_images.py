"""The bad images that a run has met, in all the splits that it opened, and bad_images.csv in its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.config.groups import Data
from tf_simclr.data import Source, listing
from tf_simclr.data.bad_images import BadImages, Policy
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import UsageError
from tf_simclr.files import write_csv

NAME, COLUMNS = "bad_images.csv", ("file", "reason", "found")
_OPENED: dict[str, dict[str, BadImages]] = {}  # by run folder: data are opened before there is one


def policy(wanted: Data) -> Policy:
    return Policy(wanted.on_bad_image == "skip", wanted.max_bad_images, wanted.max_image_pixels)


def kept_listing(config: Config) -> listing.Listing | None:
    """The images that the training in --model_dir began with; None where none has begun."""
    path = epath.Path(config.run.model_dir or "none")
    if not config.run.model_dir or not (path / "checkpoints").exists():
        return None
    return listing.read(path / listing.NAME)


def watch(config: Config, source: Source) -> None:
    """Counts the bad images of a source among its run's; those of earlier commands too, if they still are."""
    folder = config.run.model_dir
    own = source.bad_images
    _OPENED.setdefault(folder, {})[f"{source.name} {source.split}"] = own
    if folder and isinstance(source, IndexedSource):
        for name, reason, found in _stored(folder):
            if found != "scan" and not own.knows(name) and _is_still_bad(source, name):
                own.note(name, reason, found)
        own.require_few()


def over(config: Config) -> UsageError | None:
    """The mistake where a split of the run holds more bad images than are borne."""
    own = [config.data.dataset, config.probe.probe_dataset, config.searching.queries]
    flags = {f"--dataset={name}" for name in (*own, *config.transfers.datasets.split(","))}
    opened = (one for one in _of(config.run.model_dir) if one.flags in flags)  # not an earlier command's
    return next((error for one in opened if (error := one.over())), None)


def write(folder: epath.Path, model_dir: str) -> int:
    """Writes bad_images.csv to `folder` where there are any; how many the splits of the run hold."""
    rows = {name: row for one in _of(model_dir) for name, row in one.rows.items()}
    write_rows(folder, rows)
    return len(rows)


def write_rows(folder: epath.Path, rows: Mapping[str, tuple[str, str]]) -> None:
    """Writes bad_images.csv of name: (reason, found); without any there is none."""
    if rows:
        write_csv(folder / NAME, COLUMNS, [(name, *row) for name, row in sorted(rows.items())])
    else:
        (folder / NAME).unlink(missing_ok=True)


def _of(model_dir: str) -> list[BadImages]:
    """Those of a run, or of the one that it is a part of."""
    return [
        one
        for folder, opened in _OPENED.items()
        if model_dir == folder or (folder and f"{model_dir}/".startswith(f"{folder}/"))
        for one in opened.values()
    ]


def _stored(folder: str) -> list[tuple[str, str, str]]:
    try:
        text = (epath.Path(folder) / NAME).read_text()
        return [(row["file"], row["reason"], row["found"]) for row in csv.DictReader(io.StringIO(text))]
    except (OSError, tf.errors.OpError, KeyError, UnicodeDecodeError):
        return []  # none yet, or one that is written anew


def _is_still_bad(source: IndexedSource, name: str) -> bool:
    """False also of an image of another split."""
    found = source.index_of(name)
    if found is None:
        return False
    try:
        return bool(source.why_bad(source.read(tf.constant(found, tf.int64)).numpy()))
    except tf.errors.OpError:
        return True
