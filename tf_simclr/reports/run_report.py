"""report.html of a run, from the files in its folder alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from etils import epath

from tf_simclr.reports import plots
from tf_simclr.reports.page import Picture, Section, Table, write_report

PICTURES = (
    ("label_efficiency.png", "Accuracy by labels a class"),
    ("views.png", "Images and the views drawn from them"),
    ("neighbours.png", "Nearest neighbours of sample images"),
    ("tsne.png", "t-SNE of h and z (Fig. B.4)"),
)
CURVES = (
    ("probe.csv", "Probes of the frozen encoder during pretraining"),
    ("validation.csv", "Held-out labelled images"),
)
MOST_CLASSES = 30


def write_run_report(folder: epath.Path) -> epath.Path:
    """Writes report.html: result, training curves, confusion matrix, and the pictures that the run drew.

    Args:
        folder: a run folder with result.json; everything else is optional.
    """
    result = json.loads((folder / "result.json").read_text())
    sections = [Section("Result", [_result_table(result)])]
    if (folder / "metrics.csv").exists():
        curves = plots.training_curves(folder / "metrics.csv")
        sections.append(Section("Training", [Picture(curves, "Means over each epoch, from metrics.csv")]))
    for name, caption in CURVES:
        if (folder / name).exists():
            sections.append(Section(caption, [Picture(plots.training_curves(folder / name), f"From {name}")]))
    sections += _predictions(folder)
    for name, caption in PICTURES:
        if (folder / name).exists():
            sections.append(Section(caption, [Picture((folder / name).read_bytes(), caption)]))
    for path in sorted(folder.glob("l2_path_*.png")):
        caption = f"Validation metric along the l2 path: {path.stem.removeprefix('l2_path_')}"
        sections.append(Section(caption, [Picture(path.read_bytes(), caption)]))
    sections.append(Section("Flags", [(folder / "flags.cfg").read_text().replace("\n", " ")]))
    path = folder / "report.html"
    write_report(path, f"{result['command']}: {result['dataset']}", sections)
    return path


def _result_table(result: dict[str, Any]) -> Table:
    rows = [[name, value] for name, value in result.items() if not isinstance(value, dict | list)]
    for name, value in result.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", inner] for key, inner in value.items()]
    return Table(["", ""], rows)


def _predictions(folder: epath.Path) -> list[Section]:
    """Confusion matrix and accuracy of each class, where the run made predictions."""
    if not (folder / "predictions.npz").exists():
        return []
    with (folder / "predictions.npz").open("rb") as file, np.load(file) as stored:
        labels, predictions = stored["label"], stored["prediction"]
    if labels.ndim != 1 or not len(labels) or labels.min() < 0:
        return []
    count = int(max(labels.max(), predictions.max())) + 1
    data = json.loads((folder / "data.json").read_text())
    names = (data.get("class_names") or [])[:count] or [str(number) for number in range(count)]
    section = [Picture(plots.class_accuracy(labels, predictions, names), "Accuracy of each class")]
    if count <= MOST_CLASSES:
        confusion = plots.confusion_matrix(labels, predictions, names)
        section.insert(0, Picture(confusion, "Rows: true class; columns: predicted; percent of the row"))
    return [Section("Predictions", section)]
