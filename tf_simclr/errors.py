"""Exceptions that end a command without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class UsageError(ValueError):
    """A mistake in a flag, a file or a folder.

    The message is one line that names the flag or file and says what to do; commands print it, then the
    lines of `details` where there are any, and exit with code 2.
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class Diverged(UsageError):
    """A loss, or a feature, that is not finite."""


class EmptySplit(UsageError):
    """A split without images."""


class Damaged(UsageError):
    """A file of a data set that is missing, or is not what it was."""


class DoesNotFit(UsageError):
    """A checkpoint of another architecture; the details are a table of what differs.

    `asked` is the configuration that was asked for where the table has yet to be made.
    """

    def __init__(self, message: str, details: Sequence[str] = (), asked: Any = None) -> None:
        super().__init__(message, details)
        self.asked = asked


@contextmanager
def naming(flag: str, instead_of: str) -> Iterator[None]:
    """Names the flag that a value came from in mistakes that name the flag it usually comes from."""
    try:
        yield
    except UsageError as error:
        error.args = (re.sub(rf"--{instead_of}\b", f"--{flag}", str(error)),)
        raise


class Interrupted(Exception):
    """Training was asked to stop and has saved; commands exit with code 75."""
