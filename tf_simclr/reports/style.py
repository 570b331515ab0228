"""What all pictures share: colours, axes, and the PNG."""

from __future__ import annotations

import io
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, seen by all


def tidy(panel: Axes, grid: Literal["both", "x"] = "both") -> None:
    """Leaves an Axes without what does not inform."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis=grid, color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=8)


def to_png(figure: Figure) -> bytes:
    """A PNG cut to what is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white", bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()
