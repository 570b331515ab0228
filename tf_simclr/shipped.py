"""Flagfiles that come with the package, found by name from any directory."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "flags"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "flags"


def find(name: str) -> str:
    """The shipped file or folder of a name such as digits/pretrain.cfg or flags/digits/pretrain.cfg.

    What the name leads to from the working directory wins; `name` itself where there is neither.
    """
    path = Path(name)
    if path.exists() or path.is_absolute():
        return name
    parts = path.parts[1:] if path.parts[:1] == ("flags",) else path.parts
    shipped = FOLDER.joinpath(*parts)
    return str(shipped) if parts and ".." not in parts and shipped.exists() else name
