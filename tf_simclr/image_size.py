"""The size of images: one number for a square, HEIGHTxWIDTH for another rectangle."""

from __future__ import annotations

import re
from typing import TypeAlias

ImageSize: TypeAlias = int | str | tuple[int, int]
"""Pixels: 96, "96x160" or (96, 160), height first."""


LARGEST = 4096
"""Pixels of a side."""


def height_and_width(size: ImageSize) -> tuple[int, int]:
    """The two sides in pixels; ValueError where `size` says none, or one beyond `LARGEST`."""
    height, width = _sides(size)
    if max(height, width) > LARGEST:
        raise ValueError(f"must be at most {LARGEST}")
    return height, width


def _sides(size: ImageSize) -> tuple[int, int]:
    if isinstance(size, str):
        found = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", size)
        if not found:
            raise ValueError("give a number of pixels, or HEIGHTxWIDTH as in 96x160")
        return int(found[1]), int(found[2] or found[1])
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)


def shorter_side(size: ImageSize) -> int:
    """In pixels; ValueError as `height_and_width`."""
    return min(height_and_width(size))


def read_size(text: str) -> int | str:
    """What config.json holds: the number of a square, the text of another rectangle."""
    return size_of(*height_and_width(text))


def size_of(height: int | None, width: int | None) -> int | str:
    """As `read_size`, of two sides; 0 where one is not known."""
    if not height or not width:
        return 0
    return height if height == width else f"{height}x{width}"
