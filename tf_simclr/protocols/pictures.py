"""Pictures for report.html: t-SNE of h and z, nearest neighbours of sample images, mistakes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.data import Source
from tf_simclr.evaluation.confident_mistakes import most_confident_mistakes
from tf_simclr.evaluation.features import Features
from tf_simclr.evaluation.nearest_neighbours import Neighbours
from tf_simclr.files import write_whole
from tf_simclr.models import ProjectionHead
from tf_simclr.reports import contact_sheet, plots, run_report
from tf_simclr.runs.folder import RunFolder

ROWS, COLUMNS = 8, 8
LARGEST_READ_AGAIN = 100_000  # images; a picture is not worth reading more


def tsne(run: RunFolder, h: Features, head: ProjectionHead | None, class_names: tuple[str, ...]) -> None:
    """tsne.png: h and z = g(h) of the same images side by side (Fig. B.4); h alone without a head."""
    if h.labels.ndim > 1 or h.labels.min() < 0 or len(h.labels) < 4:
        return
    chosen = np.random.default_rng(0).permutation(len(h.labels))[: plots.MOST_POINTS]
    values = h.values[chosen]
    panels = {"h": values}
    if head is not None and head.dense_layers:
        panels["z = g(h)"] = head(tf.constant(values)).numpy()
    write_whole(run.path / "tsne.png", plots.tsne(panels, h.labels[chosen], class_names))


def neighbours(run: RunFolder, found: Neighbours, bank: Source, queries: Source) -> None:
    """neighbours.png: the nearest training images of a few test images."""
    if max(bank.num_examples, queries.num_examples) > LARGEST_READ_AGAIN:
        print(f"  no picture of nearest neighbours: a split has more than {LARGEST_READ_AGAIN:,} images")
        return
    rows = np.unique(np.linspace(0, queries.num_examples - 1, ROWS).astype(np.int64))
    nearest = found.indices[rows, :COLUMNS]
    asked = _images(run, queries, rows)
    given = _images(run, bank, np.unique(nearest))
    names = bank.class_names
    labels = queries.labels()[rows]
    picture = plots.neighbour_grid(
        np.stack([asked[row] for row in rows]),
        np.stack([[given[index] for index in row] for row in nearest]),
        [names[label] for label in labels],
        [[names[label] for label in row] for row in found.labels[rows, :COLUMNS]],
    )
    write_whole(run.path / "neighbours.png", picture)


def mistakes(
    run: RunFolder,
    source: Source,
    labels: np.ndarray,
    predictions: np.ndarray,
    probability: np.ndarray,
    file: str,
) -> None:
    """mistakes.png of predictions.npz (`file`): the most confident mistakes; without any there is none.

    `labels`, `predictions` and `probability`, that of the predicted class, are [n].
    """
    path = run.path / run_report.mistakes_file(file)
    path.unlink(missing_ok=True)
    rows = most_confident_mistakes(labels, predictions, probability)
    if len(rows) and source.num_examples > LARGEST_READ_AGAIN:
        print(f"  no picture of mistakes: the split has more than {LARGEST_READ_AGAIN:,} images")
    elif len(rows):
        names = dict(enumerate(source.class_names))
        true, found = ([str(names.get(n, n)) for n in classes[rows]] for classes in (labels, predictions))
        said = [f"{share:.0%} {name}" for share, name in zip(probability[rows], found, strict=True)]
        images = _images(run, source, np.sort(rows))
        write_whole(path, contact_sheet.captioned_grid([images[row] for row in rows], true, said))


def _images(run: RunFolder, source: Source, indices: np.ndarray) -> dict[int, np.ndarray]:
    """The images at `indices` (sorted), by index: float [H, W, C] in [0, 1]."""
    batches = inputs.evaluation_batches(run.config.data, source.subset(indices))
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    return dict(zip(indices.tolist(), images, strict=True))
