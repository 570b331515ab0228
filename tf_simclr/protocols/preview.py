"""--preview_views: a picture of what the encoder will see, before any training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.augment import Augmentations
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.reports.contact_sheet import save_contact_sheet
from tf_simclr.runs import build
from tf_simclr.runs.folder import RunFolder

IMAGES, VIEWS = 8, 4


def preview_views(config: Config) -> None:
    """Writes the contact sheet of --preview_views.

    Raises:
        UsageError: it names a folder.
    """
    path = config.preview.preview_views
    if tf.io.gfile.isdir(path):
        raise UsageError(f"--preview_views={path} is a folder; give a file, as {path}/views.png")
    draw(config, inputs.train_source(config), path)
    print(f"pretrain: images and their views in {config.preview.preview_views}")


def keep(run: RunFolder, source: Source) -> None:
    """Keeps views.png for report.html; a remote run folder goes without."""
    if "://" not in str(run.path):
        draw(run.config, source, str(run.path / "views.png"))


def draw(config: Config, source: Source, path: str) -> None:
    """Writes a contact sheet: eight images on top, two pairs of views of each below."""
    good = data.first_good(source, IMAGES)
    if not len(good):
        raise UsageError(f"--dataset={source.name}: no image of {source.split} can be decoded")
    source = source.subset(good)
    augmentations = build.augmentations(config).plain()
    views = []
    for number in range(source.num_examples):
        one = config.replace(
            train_batch_size=max(1, VIEWS // config.method.num_views),
            seed=config.run.seed + number,
            cache_dataset=False,
            cache_dir="",
            data_service="",
        )
        image = source.subset(np.array([number]))
        batch = next(iter(inputs.pretraining_batches(one, image, augmentations.num_uniforms)(0)))
        views.append(_painted(augmentations, batch["views"], batch["uniforms"]))  # [about VIEWS, H, W, C]
    originals = [source.decode(record["image"]).numpy() for record in source.records()]
    save_contact_sheet(originals, np.stack(views), path)


def _painted(augmentations: Augmentations, views: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Views [n, V, ...] as the train step sees them, [n * V, ...], those of a draw side by side."""
    by_view = [tf.concat(tf.unstack(parts, axis=1), axis=0) for parts in (views, uniforms)]  # view a first
    painted = augmentations(*by_view)
    shape = [views.shape[1], views.shape[0], *painted.shape[1:]]
    return tf.reshape(tf.stack(tf.unstack(tf.reshape(painted, shape)), axis=1), [-1, *painted.shape[1:]])
