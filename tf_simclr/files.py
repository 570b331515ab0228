"""Writes .npz files to local and remote paths."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from etils import epath


def write_npz(path: epath.Path, *, compress: bool = False, **arrays: np.ndarray) -> None:
    """Writes arrays to `path`, local or gs://, so that the file is never seen half written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    save = np.savez_compressed if compress else np.savez
    with partial.open("wb") as file:
        save(_Appended(file), **arrays)
    partial.replace(path)


class _Appended(io.RawIOBase):
    """A file that does not seek: TensorFlow's refuse it with an error that `zipfile` does not expect."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._file.write(bytes(content))
        return len(content)
