"""`python -m tf_simclr.figures`: the paper's figures of a run (Fig. 4, 6, B.3, B.4)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from tf_simclr import data, files, inputs, models, networks, runs, training
    from tf_simclr.augment import named
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, spectrum
    from tf_simclr.protocols import as_pretrained, gallery, pictures, preview, proof, results
    from tf_simclr.reports import contact_sheet, paper_figures, plots
    from tf_simclr.runs import loading

COMMAND = Command(
    "figures",
    "draw the paper's figures of a run: augmentations, pixel intensities, the head's spectrum, h and z",
    "data encoder head checkpoints devices run".split(),
    {},
)
IMAGES = 2  # of the gallery and the intensities, as in Fig. 6
NUMBERS = "figures.npz"


def figures(config: Config) -> dict[str, Any]:
    """Draws what the run has to show, and returns result.json."""
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    source = inputs.optional_eval_source(config) or inputs.train_source(config)
    training.print_census(source)
    training.print_held_out(run, source)
    encoder, head, step = loading.frozen_parts(config)
    run.write_data(source)

    with proof.frozen(encoder, head) as hashes:
        h = _draw_h_and_z(run, encoder, head, source)
    numbers = {**_draw_spectrum(run, head), **_draw_augmentations(run, source)}
    run.write_npz(NUMBERS, **numbers)
    return results.conclude(run, step, **hashes, num_eval_examples=len(h.labels), eval_split=source.split)


def _draw_h_and_z(
    run: runs.RunFolder, encoder: networks.Encoder, head: models.ProjectionHead | None, source: data.Source
) -> features.Features:
    """tsne.png of as many images as it shows (Fig. B.4), which need labels; returns their h."""
    rows = np.random.default_rng(0).permutation(source.num_examples)[: plots.MOST_POINTS]
    chosen = source.subset(np.sort(rows))
    h = features.extract_features(encoder, inputs.evaluation_batches(run.config.data, chosen))
    pictures.tsne(run, h, head, source.class_names)
    return h


def _draw_spectrum(run: runs.RunFolder, head: models.ProjectionHead | None) -> dict[str, np.ndarray]:
    """eigenvalues.png of each layer of the projection head (Fig. B.3, of the linear one); returns them."""
    layers = head.dense_layers if head is not None else []
    found = {}
    for layer in layers:
        kind, values = spectrum.squared_spectrum(layer.dense.kernel.numpy())
        found[f"{kind} of {layer.name}"] = values
    if found:
        files.write_whole(run.path / "eigenvalues.png", paper_figures.spectra(found))
    return {name.replace(" ", "_"): values for name, values in found.items()}


def _draw_augmentations(run: runs.RunFolder, source: data.Source) -> dict[str, np.ndarray]:
    """views.png, augmentations.png (Fig. 4) and, where there are colours, intensities.png (Fig. 6)."""
    config = as_pretrained.views(run.config)
    preview.keep(runs.RunFolder(run.path, config), source)
    rows = np.unique(np.linspace(0, source.num_examples - 1, IMAGES).astype(np.int64))
    (batch,) = inputs.evaluation_batches(config.data, source.subset(rows)).take(1)
    images = list(batch["image"])
    colours = as_pretrained.colours(config)
    _draw_gallery(run, config, images, colours[0].strength if colours else 1.0)
    if not colours:
        print("  no intensities.png: the pretraining distorted no colours")
        return {}
    counts = np.stack(
        [
            gallery.intensities(config, source.subset(np.array([row])), colours[0], number)
            for number, row in enumerate(rows)
        ]
    )
    picture = paper_figures.intensities([image.numpy() for image in images], counts, gallery.EDGES)
    files.write_whole(run.path / "intensities.png", picture)
    return {"intensities": counts, "intensity_edges": gallery.EDGES}


def _draw_gallery(run: runs.RunFolder, config: Config, images: list[tf.Tensor], strength: float) -> None:
    """augmentations.png: each image, then each operation on it."""
    names = gallery.shown(config)
    tiles = [
        tile
        for number, image in enumerate(images)
        for tile in (image.numpy(), *(gallery.augmented(image, name, number, strength) for name in names))
    ]
    across = len(named.OPERATIONS) // 2 + 1
    titles = ["original", *names] * len(images)
    picture = contact_sheet.captioned_grid(tiles, titles, [""] * len(tiles), across)
    files.write_whole(run.path / "augmentations.png", picture)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, figures, arguments)


if __name__ == "__main__":
    sys.exit(main())
