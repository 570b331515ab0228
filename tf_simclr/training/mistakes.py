"""Turns what TensorFlow says of a broken image into the name of the file."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.training import inputs


def broken_image(error: Exception, config: Config) -> UsageError | None:
    """The error to show instead of `error` where an image of the run cannot be decoded, else None."""
    if not isinstance(error, tf.errors.InvalidArgumentError):
        return None
    for open_source in (inputs.train_source, inputs.eval_source):
        try:
            found = data.undecodable_image(open_source(config))
        except UsageError:
            continue  # the command did not need this split
        if found:
            return found
    return None
