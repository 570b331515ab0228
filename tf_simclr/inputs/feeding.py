"""`--feed`: whether the host makes the views of a pretraining, or the device from images in its memory."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.data.cache import cached_size
from tf_simclr.data.crops import crop_batches
from tf_simclr.data.device_views import DeviceViews, bytes_at_work
from tf_simclr.data.resident import Resident, Shape, decode_all
from tf_simclr.devices.distribution import BatchesFrom
from tf_simclr.devices.memory import accelerator_memory
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize
from tf_simclr.inputs import batches
from tf_simclr.models import Pretraining

SHARE = 0.1  # of an accelerator's memory that --feed=auto takes


def fed_batches(config: Config, source: Source, model: Pretraining) -> BatchesFrom:
    """What `model` is pretrained on, from a step on; it is told how views are made where its device does.

    Raises:
        UsageError: --feed=device, and the images do not fit.
    """
    source, num_uniforms = batches.kept(config, source), model.augmentations.num_uniforms
    images = _images(config, source, model)
    if images is None:
        return batches.pretraining_batches_of_kept(config, source, num_uniforms)
    num_bytes = images.pixels.nbytes
    print(f"  {len(images.pixels):,} decoded images in the device's memory, {num_bytes / 1e6:,.1f} MB")
    options = {"num_uniforms": num_uniforms, "num_views": config.method.num_views}
    return batches.from_step(config, source, crop_batches, images=images, **options)


def _images(config: Config, source: Source, model: Pretraining) -> Resident | None:
    """The images that the devices of `model` now hold; None where the host makes the views."""
    most = most_bytes(config)
    if not most:
        return None
    strategy = model.distribute_strategy
    replicas = strategy.num_replicas_in_sync
    try:
        images = decode_all(source, lambda shape: bytes_of(shape, config, source, replicas) <= most)
        if images is not None:
            with strategy.scope():
                model.views_of = DeviceViews(images, config.data.image_size)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise UsageError(
            f"--feed={config.memory.feed}: the {source.num_examples:,} images of {source.name} do not fit "
            "into memory, decoded; give --feed=host, or --cache_dataset, which shrinks them"
        ) from error
    return images


def bytes_of(shape: Shape, config: Config, source: Source, replicas: int) -> int:
    """What the images of a source, padded to `shape`, and a step's that are cropped take of a device."""
    at_once = config.optimization.train_batch_size // replicas
    at_work = bytes_at_work(shape, config.data.image_size, config.method.num_views)
    return source.num_examples * math.prod(shape) + at_once * at_work


def kept_size(config: Config) -> ImageSize | None:
    """What decoded images are shrunk to cover, by --cache_dataset; None: not at all."""
    return cached_size(config.data.image_size) if config.data.cache_dataset else None


def most_bytes(config: Config) -> float:
    """What decoded images, and a step's that are cropped, may take of a device; 0: the host makes views."""
    if config.memory.feed == "device":
        return math.inf
    if config.memory.feed == "host" or config.devices.data_service:
        return 0
    return SHARE * accelerator_memory()
