"""Version folders that are whole or absent: written under a hidden name, renamed when finished."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tf_simclr.errors import UsageError


class Versions:
    """The folders `<output_dir>/<model>/<step>` that one export writes.

    `folder(model)` gives a hidden sibling to write into; `publish` renames all of them. TensorFlow Serving
    reads integers only, so it never sees the hidden ones. What is hidden is locked, which the system undoes
    when the process dies, so that the next export knows what to clear away.
    """

    def __init__(self, output_dir: str, step: int, overwrite: bool) -> None:
        if "://" in output_dir:
            raise UsageError(f"--output_dir={output_dir}: export to a local folder and copy that")
        self._root, self._step, self._overwrite = Path(output_dir), step, overwrite
        self.unfinished: dict[str, Path] = {}
        self._locks: list[int] = []

    def tidy(self) -> None:
        """Removes what killed exports left hidden; a number that one had moved away comes back first."""
        for hidden in sorted(self._root.glob("*/.*")):
            name = re.fullmatch(r"\.(\d+)-[0-9a-f]{8}(-replaced)?", hidden.name)
            if name is None or not hidden.is_dir() or not self._lock(hidden):
                continue
            final = hidden.with_name(name.group(1))
            if name.group(2) and not final.exists():
                hidden.rename(final)
            shutil.rmtree(hidden, ignore_errors=True)

    def unlock(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _lock(self, folder: Path) -> bool:
        """Whether no living process has it; it is this one's from here on."""
        handle = os.open(folder, os.O_RDONLY)
        self._locks.append(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def final(self, model: str) -> Path:
        return self._root / model / str(self._step)

    def refuse_existing(self, models: list[str]) -> None:
        """Raises UsageError when a number is taken and may not be overwritten."""
        taken = [str(self.final(model)) for model in models if self.final(model).exists()]
        if taken and not self._overwrite:
            raise UsageError(f"{taken[0]} exists: give another --output_dir, or --overwrite to replace it")

    def folder(self, model: str) -> Path:
        """A new hidden folder beside the final one."""
        final = self.final(model)
        hidden = final.with_name(f".{self._step}-{uuid.uuid4().hex[:8]}")
        try:
            hidden.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"--output_dir={self._root}: cannot be written ({error.strerror})") from error
        self._lock(hidden)
        self.unfinished[model] = hidden
        return hidden

    def publish(self) -> list[Path]:
        """Renames every hidden folder to its number; an overwritten one is moved away first.

        Raises:
            UsageError: a number that is taken, or cannot be renamed to. What it held is there again, and the
                numbers before it are published.
        """
        self.refuse_existing(list(self.unfinished))  # another export may have come first
        published = []
        for model, hidden in list(self.unfinished.items()):
            final = self.final(model)
            try:
                self._put(hidden, final)
            except OSError as error:
                raise UsageError(
                    f"{final}: cannot be put there ({error.strerror}): give another --output_dir"
                ) from error
            del self.unfinished[model]
            published.append(final)
        return published

    def _put(self, hidden: Path, final: Path) -> None:
        """A rename onto a folder that is not empty fails: without --overwrite nothing is ever replaced."""
        old = hidden.with_name(f"{hidden.name}-replaced")
        if self._overwrite and final.exists():
            self._lock(final)
            final.rename(old)
        try:
            hidden.rename(final)
        finally:
            if old.exists() and not final.exists():
                old.rename(final)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def versions(output_dir: str, step: int, overwrite: bool) -> Iterator[Versions]:
    """Yields the folders of one export and removes whatever was not published."""
    pending = Versions(output_dir, step, overwrite)
    try:
        pending.tidy()
        yield pending
    finally:
        for hidden in pending.unfinished.values():
            shutil.rmtree(hidden, ignore_errors=True)
        pending.unlock()
