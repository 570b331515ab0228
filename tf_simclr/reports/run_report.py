"""report.html of a run, from the files in its folder alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from tf_simclr.evaluation.confident_mistakes import most_confident_mistakes
from tf_simclr.reports import given_flags, plots, words
from tf_simclr.reports.page import Picture, Section, Table, write_report

PICTURES = (
    ("label_efficiency.png", "Accuracy by labels a class"),
    ("views.png", "Images and the views drawn from them"),
    ("augmentations.png", "Every operation on images of the data set (Fig. 4)"),
    ("intensities.png", "Pixel intensities of random crops, without and with colour distortion (Fig. 6)"),
    ("eigenvalues.png", "Squared eigenvalues of each layer of the projection head (Fig. B.3)"),
    ("neighbours.png", "Nearest neighbours of sample images"),
    ("search.png", "Nearest neighbours, near-duplicates and clusters; search.html and map.html show more"),
    ("tsne.png", "t-SNE of h and z (Fig. B.4)"),
)
CURVES = (
    ("collapse.csv", "Collapse: spread of z (1 healthy, 0 collapsed) and effective rank of h"),
    ("probe.csv", "Probes of the frozen encoder during pretraining"),
    ("validation.csv", "Held-out labelled images"),
)
HELD_OUT = "held_out.csv"
MOST_CLASSES = 30
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def write_run_report(folder: epath.Path) -> epath.Path:
    """Writes report.html: result, training curves, confusion matrix, and the pictures that the run drew.

    Args:
        folder: a run folder with result.json; everything else is optional.
    """
    result = json.loads((folder / "result.json").read_text())
    sections = [Section("Result", [_result_table(result)])]
    for name, value in result.items():
        if _is_table(value):
            sections.append(Section(words.heading(name), [_rows_table(value)]))
    if (folder / "metrics.csv").exists():
        sections.append(Section("Training", [_training(folder)]))
    for name, caption in CURVES:
        if (folder / name).exists():
            sections.append(Section(caption, [Picture(plots.training_curves(folder / name), f"From {name}")]))
    for path in sorted(folder.glob("predictions*.npz")):
        sections += _predictions(path)
    for name, caption in PICTURES:
        if (folder / name).exists():
            sections.append(Section(caption, [Picture((folder / name).read_bytes(), caption)]))
    for path in sorted(folder.glob("l2_path_*.png")):
        caption = f"Validation metric along the l2 path: {path.stem.removeprefix('l2_path_')}"
        sections.append(Section(caption, [Picture(path.read_bytes(), caption)]))
    sections.append(Section("Flags", [Table(["flag", "value"], list(given_flags.read(folder).items()))]))
    path = folder / "report.html"
    write_report(path, f"{result['command']}: {result['dataset']}", sections)
    return path


def mistakes_file(predictions_file: str) -> str:
    """The picture of the most confident mistakes of a file of predictions."""
    return f"mistakes{predictions_file.removeprefix('predictions').removesuffix('.npz')}.png"


def _training(folder: epath.Path) -> Picture:
    caption, held_out = "Means over each epoch, from metrics.csv", folder / HELD_OUT
    if not held_out.exists():
        return Picture(plots.training_curves(folder / "metrics.csv"), caption)
    caption += (
        f"; dashed: held-out images, from {HELD_OUT}, in batches of the same size and by batch norm's moving "
        "statistics"
    )
    return Picture(plots.training_curves(folder / "metrics.csv", held_out), caption)


def _result_table(result: dict[str, Any]) -> Table:
    """What is known, but for the lists of rows, which have tables of their own."""
    rows: list[tuple[str, Any]] = []
    for name, value in result.items():
        if isinstance(value, dict):
            rows += [(f"{words.heading(name)}: {_inner(name, key)}", inner) for key, inner in value.items()]
        elif not _is_table(value):
            rows.append((words.heading(name), value))
    return Table(["", ""], [row for row in rows if row[1] not in _NOTHING])


def _inner(name: str, key: str) -> str:
    return key if name == "versions" else words.of(key)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _rows_table(rows: list[dict[str, Any]]) -> Table:
    """A column for each key that some row has a value of."""
    columns = list(dict.fromkeys(name for row in rows for name in row if row[name] not in _NOTHING))
    return Table([words.of(name) for name in columns], [[row.get(name) for name in columns] for row in rows])


def _predictions(path: epath.Path) -> list[Section]:
    """Confusion matrix, accuracy of each class and confident mistakes, where an image has one label."""
    with path.open("rb") as file, np.load(file) as opened:
        stored = dict(opened)
    labels, predictions = stored["label"], stored["prediction"]
    if labels.ndim != 1 or not len(labels) or labels.min() < 0:
        return []
    count = int(max(labels.max(), predictions.max())) + 1
    own_names = stored.get("class_names", np.array([])).tolist()
    names = (own_names or _class_names(path.parent))[:count] or [str(number) for number in range(count)]
    section = [Picture(plots.class_accuracy(labels, predictions, names), "Accuracy of each class")]
    if count <= MOST_CLASSES:
        confusion = plots.confusion_matrix(labels, predictions, names)
        section.insert(0, Picture(confusion, "Rows: true class; columns: predicted; percent of the row"))
    dataset = path.stem.removeprefix("predictions").removeprefix("_")
    of = f": {dataset}" if dataset else ""
    sections = [Section(f"Predictions{of}", section)]
    if mistakes := _mistakes(path, stored, names):
        sections.append(Section(f"Most confident mistakes{of}", mistakes))
    return sections


def _mistakes(
    path: epath.Path, stored: dict[str, np.ndarray], names: Sequence[str]
) -> list[str | Table | Picture]:
    """The picture and the table; nothing of an older file, which has no probabilities."""
    if "probability" not in stored:
        return []
    labels, predictions, probability = stored["label"], stored["prediction"], stored["probability"][:, 0]
    rows = most_confident_mistakes(labels, predictions, probability)
    table = [
        [str(stored["id"][row]), names[labels[row]], names[predictions[row]], float(probability[row])]
        for row in rows
    ]
    content: list[str | Table | Picture] = [Table(["image", "class", "predicted", "probability"], table)]
    picture = path.parent / mistakes_file(path.name)
    if picture.exists():
        content.insert(
            0,
            Picture(
                picture.read_bytes(), "Above an image its class, below what was predicted and how probable"
            ),
        )
    return content if table else []


def _class_names(folder: epath.Path) -> list[str]:
    path = folder / "data.json"
    return json.loads(path.read_text()).get("class_names", []) if path.exists() else []
