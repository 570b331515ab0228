"""The flags of a run, as its folder has them."""

from __future__ import annotations

from etils import epath


def read(folder: epath.Path) -> dict[str, str]:
    """Name and value of every flag in flags.cfg, in its order; empty where there is none."""
    path = folder / "flags.cfg"
    lines = path.read_text().splitlines() if path.exists() else []
    parts = (line.removeprefix("--").partition("=") for line in lines if line.startswith("--"))
    return {name: value for name, _, value in parts}
