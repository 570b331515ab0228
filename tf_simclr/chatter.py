"""A filter between standard input and standard error that drops what TensorFlow's C++ says for information.

A process of its own (`streams.without_chatter`): what comes just before a crash gets through, and nobody
waits for Python's lock. It imports next to nothing, so that it starts in an instant.
"""

from __future__ import annotations

import os

_HEADING = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"


def is_chatter(line: bytes) -> bool:
    """Whether it is a line of information (`I0000 00:00:... FILE:LINE] ...`) or the heading of the first.

    Warnings, errors and fatal ones begin with W, E and F; whatever has another form is no log line.
    """
    if line.startswith(_HEADING):
        return True
    words = line.split(maxsplit=4)
    if len(words) < 4 or not words[3].endswith(b"]"):
        return False
    return line[:1] == b"I" and words[0][1:].isdigit() and b":" in words[1] and words[2].isdigit()


class Lines:
    """Takes text in pieces and gives back what is no chatter: what may become it waits for its line's end."""

    def __init__(self) -> None:
        self._waiting = b""
        self._within = False  # a line whose beginning was let through

    def let_through(self, piece: bytes) -> bytes:
        """What of the text so far is to be shown now."""
        lines, self._waiting = (self._waiting + piece).splitlines(keepends=True), b""
        return b"".join(line for line in lines if self._shown(line))

    def rest(self) -> bytes:
        """What waits at the end."""
        return b"" if is_chatter(self._waiting) else self._waiting

    def _shown(self, line: bytes) -> bool:
        whole, within = line.endswith((b"\n", b"\r")), self._within
        if not whole and not within and line.startswith((b"I", b"W")):
            self._waiting = line
            return False
        self._within = not whole
        return within or not (whole and is_chatter(line))


def main() -> None:
    lines = Lines()
    while piece := os.read(0, 1 << 16):
        _write(lines.let_through(piece))
    _write(lines.rest())


def _write(text: bytes) -> None:
    """Nothing where nobody reads any more; what comes is still taken, so that no writer waits."""
    try:
        while text:
            text = text[os.write(2, text) :]
    except OSError:
        pass


if __name__ == "__main__":
    main()
