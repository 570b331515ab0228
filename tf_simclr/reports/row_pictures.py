"""Pictures of a table's rows in the forms that the paper has, each drawn to the bytes of a PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_simclr.reports.style import COLOURS, tidy, to_png


class Point(NamedTuple):
    """A row: its place in the picture, its mean and its deviation."""

    at: tuple[str, ...]
    mean: float
    deviation: float


def draw(kind: str, points: Sequence[Point], axes: Sequence[str], value: str) -> bytes:
    """Draws `bars`, a `heat map` or `lines` of the points.

    Args:
      kind: one of these.
      points: with places of one part (bars, lines of one group) or of two.
      axes: names of the places' parts.
      value: name of the figure.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    panel = figure.add_subplot()
    _KINDS[kind](panel, points, axes, value)
    return to_png(figure)


def _bars(panel: Axes, points: Sequence[Point], axes: Sequence[str], value: str) -> None:
    """A bar a row; of two parts the first is the group, the second the bar's colour (Fig. 8, 9, B.1)."""
    groups = list(dict.fromkeys(point.at[0] for point in points))
    bars = list(dict.fromkeys(point.at[1:] for point in points))
    width = 0.8 / len(bars)
    for number, bar in enumerate(bars):
        own = [point for point in points if point.at[1:] == bar]
        x = [groups.index(point.at[0]) + width * (number - (len(bars) - 1) / 2) for point in own]
        means, deviations = [point.mean for point in own], [point.deviation for point in own]
        colour, name = COLOURS[number % len(COLOURS)], bar[0] if bar else None
        panel.bar(x, means, width * 0.92, yerr=deviations, capsize=2, color=colour, label=name)
    panel.set_xticks(range(len(groups)), groups, rotation=0 if len(groups) < 7 else 45)
    low = min(point.mean - point.deviation for point in points)
    panel.set(xlabel=axes[0] if axes else "", ylabel=value, ylim=(max(0.0, low - 5), None))
    _legend(panel, len(bars), axes[1:])
    tidy(panel)


def _heat_map(panel: Axes, points: Sequence[Point], axes: Sequence[str], value: str) -> None:
    """A cell a row; one of a single part is on the diagonal, and the last column is the mean (Fig. 5)."""
    places = {(point.at[0], point.at[-1]): point.mean for point in points}
    names = list(dict.fromkeys(part for point in points for part in point.at))
    cells = np.array([[places.get((row, column), np.nan) for column in names] for row in names])
    known = np.isfinite(cells)
    sums, counts = np.where(known, cells, 0).sum(axis=1), known.sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    cells = np.column_stack([cells, means])
    image = panel.imshow(cells, cmap="viridis")
    panel.figure.colorbar(image, ax=panel, label=value, shrink=0.8)
    panel.set_xticks(range(len(names) + 1), [*names, "mean"], rotation=30)
    panel.set_yticks(range(len(names)), names)
    panel.set(ylabel=axes[0] if axes else "", xlabel=axes[1] if len(axes) > 1 else "")
    dark = np.nanmean(cells)
    for row, column in np.argwhere(np.isfinite(cells)):
        colour = "white" if cells[row, column] < dark else "black"
        panel.text(column, row, f"{cells[row, column]:.1f}", ha="center", va="center", color=colour)


def _lines(panel: Axes, points: Sequence[Point], axes: Sequence[str], value: str) -> None:
    """A line for each first part, over the second, a number (Fig. 7)."""
    for number, group in enumerate(dict.fromkeys(point.at[0] for point in points)):
        own = sorted(
            (point for point in points if point.at[0] == group), key=lambda point: float(point.at[1])
        )
        x, colour = [float(point.at[1]) for point in own], COLOURS[number % len(COLOURS)]
        means, deviations = [point.mean for point in own], [point.deviation for point in own]
        panel.errorbar(x, means, deviations, marker="o", markersize=5, capsize=3, color=colour, label=group)
    panel.set(xlabel=axes[1] if len(axes) > 1 else "", ylabel=value)
    _legend(panel, 2, axes[:1])
    tidy(panel)


def _legend(panel: Axes, count: int, titles: Sequence[str]) -> None:
    if count > 1:
        title = titles[0] if titles else None
        panel.legend(frameon=False, fontsize=8, title=title, loc="center left", bbox_to_anchor=(1.0, 0.5))


_KINDS: Mapping[str, Callable[[Axes, Sequence[Point], Sequence[str], str], None]] = {
    "bars": _bars,
    "heat map": _heat_map,
    "lines": _lines,
}
