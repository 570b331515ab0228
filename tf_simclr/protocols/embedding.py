"""Representations of every image, written for other tools."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import Features, extract_features
from tf_simclr.models import ProjectionHead
from tf_simclr.protocols import pictures
from tf_simclr.protocols.transferring import slug
from tf_simclr.runs.folder import RunFolder


def embed(
    run: RunFolder, encoder: tf.keras.Model, head: ProjectionHead | None
) -> dict[str, dict[str, int | str]]:
    """Writes embeddings_SPLIT.npz: `id` [n], `label` [n] (-1: none), `embedding` float32 [n, D].

    All splits, or the one that --eval_split names; returns file, images and width of each.
    """
    config = run.config
    layer = _layer(config.embedding.layer, head)
    splits = [config.data.eval_split] if config.data.eval_split else _splits(config)
    written: dict[str, dict[str, int | str]] = {}
    for split in splits:
        source = inputs.any_split(config, split)
        if not written:
            run.write_data(source)
        h = extract_features(encoder, inputs.evaluation_batches(config, source))
        values = _at_layer(h.values, layer, head, config.data.eval_batch_size)
        file = f"embeddings_{slug(split)}.npz"
        run.write_npz(
            file,
            id=h.ids,
            label=h.labels,
            embedding=values,
            class_names=np.array(source.class_names, dtype=str),
        )
        print(f"{split}: {len(values):,} images, {values.shape[1]} numbers each, in {run.path / file}")
        written[split] = {"file": file, "images": len(values), "width": values.shape[1]}
    pictures.tsne(run, Features(h.values, h.labels, h.ids), head, source.class_names)
    return written


def _splits(config: Config) -> tuple[str, ...]:
    config.require_dataset()
    return data.available_splits(config.data.dataset, config.data.data_dir)


def _layer(asked: str, head: ProjectionHead | None) -> int:
    """--layer as the number of a head layer; 0 is h."""
    last = len(head.dense_layers) if head is not None else 0
    if asked == "h":
        return 0
    if asked == "z" and head is not None:
        return last
    if asked.isdigit() and int(asked) <= last:
        return int(asked)
    has = f"z and 0 to {last}" if head is not None else "no projection head: only h"
    raise UsageError(f"--layer={asked}: the run of --checkpoint has h, {has}")


def _at_layer(h: np.ndarray, layer: int, head: ProjectionHead | None, batch_size: int) -> np.ndarray:
    if not layer or head is None:
        return h
    parts = np.split(h, range(batch_size, len(h), batch_size))
    return np.concatenate([head.layer_outputs(tf.constant(part))[layer].numpy() for part in parts])
