"""The batches of a run, from the step on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.config.groups import Data, Optimization
from tf_simclr.data import Sampling, Source
from tf_simclr.devices.data_service import through_services
from tf_simclr.devices.distribution import BatchesFrom


def pretraining_batches(config: Config, source: Source, num_uniforms: int) -> BatchesFrom:
    """Views of every image, from a step on."""
    return pretraining_batches_of_kept(config, kept(config, source), num_uniforms)


def pretraining_batches_of_kept(config: Config, source: Source, num_uniforms: int) -> BatchesFrom:
    """As `pretraining_batches`, of a source that `kept` gave."""
    method = config.method
    options = {"num_uniforms": num_uniforms, "num_views": method.num_views, "with_index": method.needs_index}
    return from_step(config, source, data.pretraining_batches, **options)


def training_batches(config: Config, source: Source, num_uniforms: int = 0) -> BatchesFrom:
    """One cropped and flipped image each, with its label, from a step on."""
    options = {"augment": config.labels.augment != "none", "num_uniforms": num_uniforms}
    view = _evaluation_view(config.data)
    return from_step(config, kept(config, source), data.training_batches, **options, **view)


def evaluation_batches(wanted: Data, source: Source, *, replace: bool = False) -> tf.data.Dataset:
    """Every image once, centre crop, in the source's order; a bad one is left out, or `replace`d."""
    view = _evaluation_view(wanted)
    size, count = wanted.image_size, wanted.eval_batch_size
    return data.evaluation_batches(source, image_size=size, batch_size=count, replace=replace, **view)


def with_fitting_batch(config: Config, num_examples: int) -> Config:
    """The default batch cut to the largest power of two that `num_examples` fill; another one is left alone.

    A batch of several epochs would train for a step or two at the rate of 4096 images.
    """
    batch = config.optimization.train_batch_size
    default = config.method.defaults.get("train_batch_size", Optimization().train_batch_size)
    if batch != default or batch <= num_examples:
        return config
    fitting = max(2, 1 << (num_examples.bit_length() - 1))
    print(
        f"{num_examples:,} images to train on: batches of {fitting:,} in place of {batch:,}; "
        "--train_batch_size sets another"
    )
    return config.replace(train_batch_size=fitting)


def kept(config: Config, source: Source) -> Source:
    """The source, its images decoded once where --cache_dataset says so."""
    if not config.data.cache_dataset:
        return source
    return data.cached(source, config.data.image_size, config.data.cache_dir)


def sampling(config: Config) -> Sampling:
    """Which images a step takes and how they are cropped."""
    return Sampling(
        image_size=config.data.image_size,
        batch_size=config.optimization.train_batch_size,
        seed=config.run.seed,
        crop_area_min=config.views.crop_area_min,
        flip=config.views.use_flip,
        shuffle_buffer=config.data.shuffle_buffer,
        shared_crop=config.augmentation.one_branch,
        report=not config.devices.data_service,
        crop_side=config.views.crop_side,
    )


def from_step(
    config: Config, source: Source, batches: Callable[..., tf.data.Dataset], **options: Any
) -> BatchesFrom:
    """`batches` of the source, made here or by the services of --data_service."""

    def begin(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        part = {"start_step": step, "worker": worker, "num_workers": num_workers}
        return batches(source, sampling(config), **part, **options)

    return through_services(config.devices.data_service, begin)


def _evaluation_view(wanted: Data) -> dict[str, Any]:
    return {
        "center_crop_fraction": wanted.center_crop_fraction or None,
        "resize_first": wanted.resize_first,
    }
