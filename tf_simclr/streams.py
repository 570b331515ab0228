"""Standard output and standard error: without chatter, and outlasting whoever reads them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FILTER = Path(__file__).with_name("chatter.py")
_PATIENCE = 1.0  # seconds; a child that goes on keeps the filter


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Nothing of what C++ says for information is seen within, of this process or of those it starts.

    TensorFlow writes such lines to file descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says: until
    absl::InitializeLog(), which it never calls, absl sends all there. Only the level 0 wants to see them.
    Python's own sys.stderr goes where it went, past the filter, and stays a terminal where it is one.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or not _is_the_process_own(sys.stderr):
        yield
        return
    before, kept = sys.stderr, os.dup(2)
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", str(_FILTER)]
    process = subprocess.Popen(
        command, stdin=reading, stdout=subprocess.DEVNULL, stderr=kept, start_new_session=True
    )
    os.close(reading)
    before.flush()
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=before.encoding, errors=before.errors)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        sys.stderr = before  # the other stays open: loggers made within hold it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def _is_the_process_own(stream: Any) -> bool:
    """Whether it writes to file descriptor 2; a notebook's and a captured one do not."""
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What is printed within, after the pipe's other end has gone (`| head`), is lost; the work goes on."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Lasting(sys.stdout), _Lasting(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Lasting:
    """A text stream whose writes never fail for want of a reader."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._to_nowhere()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._to_nowhere()

    def _to_nowhere(self) -> None:
        """Python flushes what is left once more at its end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
