"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lines of columns as wide as their widest cell, two spaces apart; the first `left` are flush left."""
    lines = [columns, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    padded = [
        [f"{cell:{'<' if place < left else '>'}{widths[place]}}" for place, cell in enumerate(line)]
        for line in lines
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in padded)
