"""Turns what TensorFlow says of a user's mistake, or of another worker's end, into one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.config import Config
from tf_simclr.data import Source, shards
from tf_simclr.devices.cluster import this_worker
from tf_simclr.devices.data_service import out_of_turn
from tf_simclr.devices.distribution import is_lost_worker, lost_worker
from tf_simclr.errors import Damaged, Interrupted, UsageError
from tf_simclr.files import out_of_space
from tf_simclr.inputs import bad_images, splits
from tf_simclr.protocols import datasets


def explained(error: Exception, config: Config) -> UsageError | Interrupted | None:
    """The error to show instead of `error`; None where nobody but us made a mistake."""
    if is_lost_worker(error) and this_worker(config.devices).count > 1:
        return lost_worker(error)
    if out_of_space(error):
        return Interrupted(
            f"no space is left on the disk of --model_dir={config.run.model_dir}, or of another folder that "
            "the command writes to; what was saved is whole; make space"
        )
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return UsageError(
            "the memory of the device, or of the machine, does not hold what the flags ask for: give a "
            "smaller --train_batch_size or --eval_batch_size, --image_size or encoder"
        )
    if isinstance(error, shards.DAMAGE) and (damaged := _found(config, shards.damaged)):
        return damaged
    if not isinstance(error, tf.errors.InvalidArgumentError | tf.errors.NotFoundError):
        return None
    return out_of_turn(error) or bad_images.over(config) or _found(config, data.undecodable_image)


def _found(config: Config, look: Callable[[Source], UsageError | None]) -> UsageError | None:
    """What `look` finds first in the data of the run, the image or the file to name; or that one is gone."""
    searched = config.searching.queries
    queries = [config.replace(dataset=searched, labels="")] if searched else []
    for one in [*datasets.configs(config), *queries]:
        for split in _splits(one):
            try:
                found = look(inputs.any_split(one, split))
            except Damaged as error:
                return error
            except UsageError:
                continue  # the command did not need this split
            if found:
                return found
    return None


def _splits(config: Config) -> Iterator[str]:
    """The splits that the command reads; those it chooses by last."""
    if config.command in ("embed", "predict") and not config.data.eval_split:
        yield from inputs.available_splits(config)
        return
    yield config.data.train_split
    if config.data.eval_split:
        yield config.data.eval_split
    try:
        named = splits.of_protocol(config.data)
    except UsageError:
        return  # there is none to test on
    yield from (split for split in (named.train, named.test) if split != config.data.train_split)
    if named.validation and (config.command == "transfer" or config.sweep.sweep):
        yield named.validation
