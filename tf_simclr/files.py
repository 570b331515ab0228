"""Files that are seen whole or not at all, on local and remote paths."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from tf_simclr.errors import Interrupted, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = r"no space left|quota exceeded|file too large"  # of TensorFlow, which has codes of its own


def out_of_space(error: BaseException) -> bool:
    """Whether an error says that a disk, or what one may use of it, is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return re.search(_FULL_WORDS, str(error), re.IGNORECASE) is not None


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replaces a file at once, also where another process writes the same; text as UTF-8."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_npz(path: str | os.PathLike[str], *, compress: bool = False, **arrays: np.ndarray) -> None:
    """Writes arrays, as `write_whole`, without holding the file in memory."""
    with whole_file(path) as file:
        (np.savez_compressed if compress else np.savez)(_Appended(file), **arrays)


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a row of column names and `rows`, as `write_whole`, without holding the file in memory."""
    with (
        whole_file(path) as file,
        io.TextIOWrapper(io.BufferedWriter(_Appended(file)), "utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A file of bytes beside `path` that becomes `path` when the block ends, and is gone where it fails."""
    whole = epath.Path(path)
    partial = whole.with_name(f".{whole.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(whole)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writing(flag: str) -> Iterator[None]:
    """Turns what a file system says within into a mistake of `flag`, as --output=PATH.

    Raises:
        UsageError: it cannot be written.
        Interrupted: there is no space.
    """
    try:
        yield
    except Exception as error:  # of a remote one, TensorFlow's own, which is not imported here
        if out_of_space(error):
            raise Interrupted(f"{flag}: no space is left there; make some") from error
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UsageError(f"{flag}: cannot be written ({reason})") from error


def require_writable(flag: str, folder: epath.Path) -> None:
    """Makes a folder, and finds out whether files can be made in it; raises what `writing` does."""
    with writing(flag):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}.partial"
        probe.touch()
        probe.unlink()


class _Appended(io.RawIOBase):
    """A file that does not seek: TensorFlow's refuse it with an error that `zipfile` does not expect."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._file.write(bytes(content))
        return len(content)
