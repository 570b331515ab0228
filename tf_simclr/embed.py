"""`python -m tf_simclr.embed`: h, z or any head layer of every image, as .npz files with ids."""

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

    from tf_simclr import inputs, models, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features
    from tf_simclr.protocols import datasets, layers, pictures, proof, results
    from tf_simclr.runs import loading

COMMAND = Command(
    "embed",
    "write h, z or a layer of the projection head of every image to .npz, with file names or ids",
    "data encoder head embedding checkpoints devices run".split(),
    {},
)


def embed(config: Config) -> dict[str, Any]:
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    encoder, head, step = loading.frozen_parts(config)

    with proof.frozen(encoder) as hashes:
        written = _write_embeddings(run, encoder, head)
    count = sum(file["images"] for file in written)
    return results.conclude(run, step, **hashes, num_eval_examples=count, embeddings=written)


def _write_embeddings(
    run: runs.RunFolder, encoder: networks.Encoder, head: models.ProjectionHead | None
) -> list[dict[str, Any]]:
    """Writes embeddings_SPLIT.npz: `id` [n], `label` [n] (-1: none), `embedding` float32 [n, D].

    All splits, or the one that --eval_split names; returns file, images and width of each.
    """
    config, wanted = run.config, run.config.data
    layer = layers.numbered(config.embedding.layer, head)
    splits = [wanted.eval_split] if wanted.eval_split else inputs.available_splits(config)
    written: list[dict[str, Any]] = []
    for split in splits:
        source = inputs.any_split(config, split)
        training.print_census(source)
        if not written:
            run.write_data(source)
            training.print_held_out(run, source)
        h = features.extract_features(encoder, inputs.evaluation_batches(wanted, source))
        values = layers.outputs(h.values, layer, head, wanted.eval_batch_size)
        file = f"embeddings_{datasets.slug(split)}.npz"
        names = np.array(source.class_names, dtype=str)
        run.write_npz(file, id=h.ids, label=h.labels, embedding=values, class_names=names)
        print(f"{split}: {len(values):,} images, {values.shape[1]} numbers each, in {run.path / file}")
        written.append({"file": file, "images": len(values), "width": values.shape[1]})
    pictures.tsne(run, h, head, source.class_names)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, embed, arguments)


if __name__ == "__main__":
    sys.exit(main())
