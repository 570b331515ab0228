"""The pictures of a report, each drawn from plain arrays to the bytes of a PNG."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from tf_simclr.evaluation.label_efficiency import LabelEfficiency
from tf_simclr.evaluation.logistic_regression import PathPoint
from tf_simclr.evaluation.metrics import per_class_accuracy
from tf_simclr.reports.style import COLOURS
from tf_simclr.reports.style import tidy as _tidy
from tf_simclr.reports.style import to_png as _png

MOST_POINTS = 1000  # t-SNE takes about 3 s a panel
_LENGTHS = ("epoch", "step", "images")
MOST_NAMES = 30  # classes whose names still fit beside a picture


def training_curves(
    metrics_csv: str | os.PathLike[str], held_out_csv: str | os.PathLike[str] | None = None
) -> bytes:
    """Each column of a run's `metrics.csv` over its epochs (or steps), a small panel each.

    Empty cells are gaps; columns without any number are left out, and the images, a multiple of the steps.
    Columns of the same name in `held_out_csv` are dashed beside them, over steps.
    """
    columns = _columns(metrics_csv)
    held_out = _columns(held_out_csv) if held_out_csv is not None else {}
    axis = next((name for name in ("epoch", "step") if name in columns), None)
    shown = {n: v for n, v in columns.items() if n not in _LENGTHS and np.isfinite(v).any()}
    figure, axes = _panels(max(1, len(shown)), width=3.2, height=2.3, across=3)
    for panel, (number, (name, values)) in zip(axes, enumerate(shown.items()), strict=False):
        finite = np.isfinite(values)
        x = columns[axis] if axis else np.arange(1, len(values) + 1)
        marker = "o" if finite.sum() < 15 else None
        panel.plot(
            x[finite], values[finite], color=COLOURS[number % len(COLOURS)], marker=marker, markersize=3
        )
        if name in held_out and axis in held_out:
            _dashed(panel, held_out[axis], held_out[name])
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.set_xlabel(axis or "row", fontsize=8)
    return _png(figure)


def _columns(table: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader(io.StringIO(epath.Path(table).read_text())))
    return {name: np.array([_number(row[name]) for row in rows]) for name in (rows[0] if rows else ())}


def _dashed(panel: Axes, x: np.ndarray, values: np.ndarray) -> None:
    panel.plot(x, values, color="black", linestyle="--", marker=".", markersize=3, label="held out")
    panel.legend(frameon=False, fontsize=7)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]) -> bytes:
    """How often a class (row) is taken for another (column), in percent of the row.

    Args:
      labels: int [n].
      predictions: int [n].
      class_names: C names; numbers are written into the cells up to 20 classes, names up to 30.
    """
    count = len(class_names)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (labels, predictions), 1)
    matrix *= 100 / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(8.0, 2.5 + 0.45 * count)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    panel = figure.add_subplot()
    image = panel.imshow(matrix, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=panel, label="% of the class", shrink=0.8)
    panel.set(xlabel="predicted", ylabel="true")
    if count <= MOST_NAMES:
        panel.set_xticks(range(count), _short(class_names))
        if max(map(len, class_names)) > 3:
            panel.tick_params(axis="x", labelrotation=90)
        panel.set_yticks(range(count), _short(class_names))
    if count <= 20:
        for row, column in np.argwhere(matrix >= 0.5):
            colour = "white" if matrix[row, column] > 50 else "black"
            panel.text(
                column, row, f"{matrix[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
    return _png(figure)


def class_accuracy(labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]) -> bytes:
    """Accuracy of each class as a bar, best first; with more than 30 classes the 15 best and 15 worst.

    Args:
      labels: int [n].
      predictions: int [n].
      class_names: C names; a class without examples has no bar.
    """
    accuracy = per_class_accuracy(predictions, labels, len(class_names))
    order = [c for c in np.argsort(-accuracy, kind="stable") if np.isfinite(accuracy[c])]
    title = ""
    if len(order) > MOST_NAMES:
        title = f"the {MOST_NAMES // 2} best and the {MOST_NAMES // 2} worst of {len(order)} classes"
        order = order[: MOST_NAMES // 2] + order[-MOST_NAMES // 2 :]
    figure = Figure(figsize=(6.4, 0.9 + 0.24 * len(order)), layout="constrained")
    panel = figure.add_subplot()
    panel.set_title(title, fontsize=9)
    panel.barh(range(len(order)), accuracy[order], color=COLOURS[0], height=0.75)
    for place, c in enumerate(order):
        panel.text(110, place, f"{accuracy[c]:.1f}", ha="right", va="center", fontsize=8)
    panel.set_yticks(range(len(order)), _short([class_names[c] for c in order], 32))
    overall = float(np.mean(labels == predictions) * 100)
    panel.axvline(overall, color=COLOURS[1], linewidth=1, linestyle="--")
    panel.set(xlim=(0, 110), xlabel=f"accuracy, % (dashed: all images, {overall:.1f})")
    panel.set_ylim(len(order) - 0.4, -0.6)
    _tidy(panel, grid="x")
    return _png(figure)


def neighbour_grid(
    queries: np.ndarray,
    neighbours: np.ndarray,
    query_names: Sequence[str],
    neighbour_names: Sequence[Sequence[str]],
) -> bytes:
    """A row for each query: the image, then its nearest neighbours, framed by whether the class is the same.

    Args:
      queries: [r, H, W, 3 or 1] float in [0, 1] or uint8.
      neighbours: [r, k, H, W, 3 or 1], nearest first, alike.
      query_names: r class names.
      neighbour_names: r times k class names.
    """
    rows, columns = neighbours.shape[:2]
    figure = Figure(figsize=(0.95 * (columns + 1) + 0.3, 1.12 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns + 1, squeeze=False)
    for row in range(rows):
        _image(grid[row, 0], queries[row], query_names[row], COLOURS[0])
        for column in range(columns):
            same = neighbour_names[row][column] == query_names[row]
            colour = COLOURS[2] if same else COLOURS[1]
            _image(grid[row, column + 1], neighbours[row, column], neighbour_names[row][column], colour)
    figure.suptitle("query (blue), then its nearest; green: same class, orange: another", fontsize=9)
    return _png(figure)


def tsne(
    representations: Mapping[str, np.ndarray], labels: np.ndarray, class_names: Sequence[str], seed: int = 0
) -> bytes:
    """t-SNE of several representations of the same images side by side, as Fig. B.4 has h and z.

    Args:
      representations: name -> float [n, D]; at most 1,000 rows are drawn, the same ones in each panel.
      labels: int [n]; colours repeat beyond 10 classes, whose names are then left out.
      class_names: C names.
      seed: of the choice of rows and of t-SNE.
    """
    count = len(labels)
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:MOST_POINTS])
    figure, axes = _panels(len(representations), width=4.2, height=4.2, across=len(representations))
    for panel, (name, values) in zip(axes, representations.items(), strict=True):
        perplexity = min(30.0, max(1.0, (len(chosen) - 1) / 3))
        with threadpool_limits(1):  # several threads are slower at this size
            points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values[chosen])
        panel.scatter(*points.T, c=labels[chosen] % 10, cmap="tab10", vmin=-0.5, vmax=9.5, s=6, linewidths=0)
        panel.set_title(name, fontsize=10)
        panel.set_axis_off()
    if len(class_names) <= 10:
        handles = [
            axes[0].scatter([], [], color=f"C{number}", s=20, label=name)
            for number, name in enumerate(_short(class_names))
        ]
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    return _png(figure)


def l2_path(path: Sequence[PathPoint], chosen: float, metric_name: str = "accuracy") -> bytes:
    """The validation metric along the l2 path (App. B.8), the chosen value marked."""
    points = sorted(path)
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    panel = figure.add_subplot()
    l2 = [point.l2 for point in points]
    validation = [point.validation for point in points]
    panel.semilogx(l2, validation, color=COLOURS[0], marker="o", markersize=3)
    best = dict(zip(l2, validation, strict=True))[chosen]
    panel.plot([chosen], [best], "o", color=COLOURS[1], markersize=8, label=f"chosen: {chosen:.2g}")
    panel.set(xlabel="l2", ylabel=f"validation {metric_name}, %")
    panel.legend(frameon=False, fontsize=9)
    _tidy(panel)
    return _png(figure)


def label_efficiency(rows: Sequence[LabelEfficiency], title: str = "") -> bytes:
    """Accuracy over the number of labels, a line for each representation with one standard deviation."""
    names = list(dict.fromkeys(row.representation for row in rows))
    numbers = list(dict.fromkeys(row.labels_per_class for row in rows))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    panel = figure.add_subplot()
    for number, name in enumerate(names):
        own = {row.labels_per_class: row for row in rows if row.representation == name}
        places = [place for place, per_class in enumerate(numbers) if per_class in own]
        means = np.array([own[numbers[place]].mean for place in places])
        stds = [own[numbers[place]].std for place in places]
        colour = COLOURS[number % len(COLOURS)]
        x = np.array(places) + 0.03 * (number - (len(names) - 1) / 2)  # keeps the error bars apart
        panel.errorbar(x, means, stds, color=colour, marker="o", markersize=5, capsize=3, label=name)
    ticks = ["all labels" if per_class is None else f"{per_class} a class" for per_class in numbers]
    panel.set_xticks(range(len(numbers)), ticks)
    panel.set(ylabel="test accuracy, %", xlabel="labels", ylim=(None, 101), title=title)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    _tidy(panel)
    return _png(figure)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _panels(count: int, width: float, height: float, across: int) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of that size in inches, at most `across` in a row."""
    columns = min(count, across)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes[:count]:
        _tidy(panel)
    for panel in axes[count:]:
        panel.set_visible(False)
    return figure, axes[:count]


def _image(panel: Axes, image: np.ndarray, name: str, colour: str) -> None:
    panel.imshow(image, cmap="gray", interpolation="nearest", vmin=0, vmax=1)
    panel.set(xticks=[], yticks=[])
    panel.set_title(_short([name], 12)[0], fontsize=7, color=colour, pad=2)
    for spine in panel.spines.values():
        spine.set(color=colour, linewidth=2)


def _short(names: Sequence[str], longest: int = 22) -> list[str]:
    """Names cut to a length, `$` escaped so that it doesn't start a formula."""
    cut = (name if len(name) <= longest else name[: longest - 1] + "…" for name in map(str, names))
    return [name.replace("$", r"\$") for name in cut]
