"""A run folder: config.json, flags.cfg, data.json, checkpoints/, logs/, metrics.csv, result.json."""

from __future__ import annotations

import atexit
import dataclasses
import importlib.metadata
import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

import tf_simclr
from tf_simclr.config import Config, flags, stored
from tf_simclr.config.flags import Command
from tf_simclr.data import Source, listing
from tf_simclr.devices.cluster import this_worker
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.files import out_of_space, write_npz, write_whole
from tf_simclr.runs import ledger, lengths, lock, prefixes

UNREACHABLE = (OSError, tf.errors.OpError)
PACKAGES = ("tensorflow", "tf-keras", "keras", "keras-cv", "tensorflow-datasets", "numpy")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files; a worker that is not the chief writes to a folder that goes with it."""

    path: epath.Path
    config: Config
    opened: float = dataclasses.field(default_factory=time.perf_counter, compare=False)
    lock: lock.Lock | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, config: Config, command: Command) -> RunFolder:
        """Makes the folder of --model_dir, or takes up a run of the same flags; by --extend to a later end.

        It holds the folder's lock.

        Raises:
            UsageError: no --model_dir, a folder that cannot be written or that another process holds, a run
                with other flags, or none that could be extended.
            Interrupted: there is no space.
        """
        config.require_model_dir()
        path, force = epath.Path(config.run.model_dir), config.run.force_unlock
        config = config.replace(force_unlock=False)
        whole, found = stored.with_source(config), None
        try:
            if stored.holds_work(path):
                found = stored.read_config(path)
                taken = _taken_up(ledger.flags_as_found(whole, found, path), found, path, command)
                whole = dataclasses.replace(whole, extended=taken.extended)
            elif config.extension.extend:
                raise UsageError(f"--extend: --model_dir={path} holds no run to train longer; leave it out")
        except UNREACHABLE as error:
            raise UsageError(f"--model_dir={path}: cannot be read ({_line(error)})") from error
        whole = whole.replace(extend=False)  # it is done
        own = dataclasses.replace(config.replace(extend=False), extended=whole.extended)
        if not this_worker(config.devices).is_chief:
            return cls(_temporary_folder(), own)._prepared(whole, command)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, own, lock=lock.hold(path, force=force))
            if found is not None:
                run._note_mended(found)
            return run._prepared(whole, command)
        except UNREACHABLE as error:
            if out_of_space(error):
                raise Interrupted(f"--model_dir={path}: no space is left there; make some") from error
            raise UsageError(f"--model_dir={path}: cannot be written ({_line(error)})") from error

    def release(self) -> None:
        """Gives the folder free, as the end of the process does."""
        if self.lock is not None:
            self.lock.release()

    def _prepared(self, whole: Config, command: Command) -> RunFolder:
        self.write("config.json", whole.to_json(command.stored_groups))
        self.write("flags.cfg", flags.flagfile(command, self.config))
        for litter in self.path.glob(".*.partial"):  # of a process that was killed
            litter.unlink(missing_ok=True)
        return self

    def _note_mended(self, found: Config) -> None:
        """Records which flags were mended since the run `found` stopped at a step that was not finite."""
        before, saved = ledger.read(self.path), prefixes.saved_in(self.checkpoints)
        if before is not None:
            step = prefixes.step_of(saved[-1]) if saved else 0
            ledger.write(self.path, before.mended(step, self.config, found))

    @property
    def checkpoints(self) -> epath.Path:
        """Where the run's checkpoints are, for all workers; this one's own go to `path`/checkpoints."""
        return epath.Path(self.config.run.model_dir) / "checkpoints"

    @property
    def logs(self) -> epath.Path:
        return self.path / "logs"

    def write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write(name, json.dumps(content, indent=2) + "\n")

    def write_npz(self, name: str, **arrays: np.ndarray) -> None:
        write_npz(self.path / name, compress=True, **arrays)

    def write_data(self, source: Source, class_names: Sequence[str] = ()) -> None:
        """Writes data.json: what the run was trained on, and holdout_ids.txt where images are held out.

        `class_names` are for images without labels.

        Raises:
            UsageError: training began with other data of the same name.
        """
        names = list(source.class_names or class_names)
        found = {
            "num_examples": source.num_examples,
            "num_classes": len(names),
            "class_names": names,
            "version": source.version,
        }
        before = self.read_json("data.json") if self.checkpoints.exists() else found
        different = [
            f"{name} is {value}, was {before[name]}"
            for name, value in found.items()
            if value != before.get(name, value)
        ]
        if different:
            raise UsageError(
                f"--dataset={self.config.data.dataset} has changed since the run in --model_dir={self.path} "
                f"began ({'; '.join(different)}); give another --model_dir"
            )
        census = {"census": source.census.to_tree()} if source.census else {}
        self.write_json("data.json", found | census)
        self.write_held_out(source)

    def keep_listing(self, source: Source) -> None:
        """Writes listing.npz, the images that a training begins with, where the data set is a folder."""
        if source.listing is not None:
            source.listing.write(self.path / listing.NAME)

    def write_held_out(self, source: Source, name: str = stored.HELD_OUT) -> None:
        """Writes which images --holdout made the test split; no file where it made none."""
        if source.held_out:
            self.write(name, "".join(f"{id_}\n" for id_ in source.held_out))

    def take_data(self, part: RunFolder) -> None:
        """Says of this run what `part`, a run within it, says of its data."""
        self.write_json("data.json", part.read_json("data.json"))
        if (part.path / stored.HELD_OUT).exists():
            self.write(stored.HELD_OUT, (part.path / stored.HELD_OUT).read_text())

    def write_labelled_ids(self, source: Source) -> None:
        """Writes labelled_ids.txt: which training images were used with their labels."""
        self.write("labelled_ids.txt", "".join(f"{name}\n" for name in source.names()))

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file of the run; empty when it is not there.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.path / name
        try:
            content = json.loads(path.read_text()) if path.exists() else {}
            if not isinstance(content, dict):
                raise ValueError("no object")
        except ValueError as error:  # not UTF-8, not JSON, not ours
            raise UsageError(f"{path} is damaged ({error}); delete it and run the command again") from error
        return content

    def write_result(self, **values: Any) -> dict[str, Any]:
        """Writes result.json: `values` beside what every command reports."""
        result = {
            "command": self.config.command,
            "dataset": self.config.data.dataset,
            "seed": self.config.run.seed,
            "top1": None,
            "top5": None,
            **values,
            "versions": versions(),
            "git_commit": git_commit(),
        }
        self.write_json("result.json", result)
        return result


def _temporary_folder() -> epath.Path:
    folder = tempfile.mkdtemp(prefix="tf_simclr_worker_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return epath.Path(folder)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"tf_simclr": tf_simclr.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None where there is none."""
    command = ["git", "-C", str(Path(tf_simclr.__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _line(error: Exception) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]


def _taken_up(config: Config, found: Config, path: epath.Path, command: Command) -> Config:
    """`lengths.taken_up`, of a run of the same command and from the same source."""
    if found.command != config.command:
        raise UsageError(
            f"--model_dir={path} holds a run of {found.command}; give {config.command} another folder"
        )
    config = lengths.taken_up(config, found, path, command)
    if not stored.same_source(config, found):
        raise UsageError(
            f"--checkpoint={config.checkpoints.checkpoint} is another run than when the one in "
            f"--model_dir={path} began; give another --model_dir"
        )
    return config
