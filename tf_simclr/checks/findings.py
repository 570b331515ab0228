"""What a check says of a planned run: a line, and how bad it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

NOTE, WARNING, WASTED = "note", "warning", "wasted"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line that names the flag and what to change.

    Attributes:
        level: NOTE, what was measured; WARNING; or WASTED: such a run is not worth starting.
        line: without the level.
        figures: what was measured, by name.
    """

    level: str
    line: str
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


def report(found: Sequence[Finding]) -> str:
    """A line each, the worst last, where a terminal ends."""
    order = sorted(found, key=lambda one: (NOTE, WARNING, WASTED).index(one.level))
    return "\n".join(f"{one.level:<8} {one.line}" for one in order)


def to_json(found: Sequence[Finding]) -> str:
    """The findings in their own order."""
    rows = [dataclasses.asdict(one) for one in found]
    return json.dumps({"findings": rows, "wasted": is_wasted(found)}, indent=2)


def is_wasted(found: Sequence[Finding]) -> bool:
    return any(one.level == WASTED for one in found)
