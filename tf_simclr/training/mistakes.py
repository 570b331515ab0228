"""Turns what TensorFlow says of a broken image into the name of the file."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.training import inputs, splits
from tf_simclr.training.transferring import dataset_configs


def broken_image(error: Exception, config: Config) -> UsageError | None:
    """The error to show instead of `error` where an image of the run cannot be decoded, else None."""
    if not isinstance(error, tf.errors.InvalidArgumentError):
        return None
    for one in dataset_configs(config):
        for split in _splits(one):
            try:
                found = data.undecodable_image(inputs.any_split(one, split))
            except UsageError:
                continue  # the command did not need this split
            if found:
                return found
    return None


def _splits(config: Config) -> Iterator[str]:
    """The splits that the command reads; those it chooses by last."""
    yield config.data.train_split
    try:
        named = splits.of_protocol(config)
    except UsageError:
        return  # there is none to test on
    yield from (split for split in (named.train, named.test) if split != config.data.train_split)
    if named.validation and (config.command == "transfer" or config.freezing.sweep):
        yield named.validation
