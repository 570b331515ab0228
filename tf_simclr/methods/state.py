"""State that methods keep beside encoder and head: moving averages of layers, queues of projections.

All of it lives in the strategy's scope, is equal on all replicas, and is saved under model/state/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.replicas.gather import gather_replicas


class Average(tf.Module):
    """Copies of layers, applied one after another, whose weights follow the layers' by a moving average.

    The copies start equal to the layers. In training mode their batch norm takes the statistics of the batch
    and keeps moving ones of its own.

    Args:
        layers: built, such as [encoder, projection_head].
        example: an input of the first, [1, ...].

    Raises:
        UsageError: a layer cannot be made again from its `get_config`.
    """

    def __init__(self, layers: Sequence[tf.keras.layers.Layer], example: tf.Tensor) -> None:
        super().__init__(name="average")
        with tf.variable_creator_scope(_moved_on_replicas):
            self.layers = [_copy(layer) for layer in layers]
            self(example)
        followed = list(layers)
        self._followed = lambda: followed  # a list would be part of the module, and be saved under its name
        self.restart()

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.layers:
            inputs = layer(inputs, training=training)
        return inputs

    def restart(self) -> None:
        """Makes the copies equal to the layers, statistics included."""
        for copy, layer in zip(self.layers, self._followed(), strict=True):
            for average, variable in zip(copy.variables, layer.variables, strict=True):
                average.assign(variable)

    def update(self, momentum: float | tf.Tensor) -> None:
        """average <- momentum * average + (1 - momentum) * weight."""
        for average, variable in self._pairs():
            share = tf.cast(momentum, average.dtype)
            average.assign(share * average + (1 - share) * tf.convert_to_tensor(variable))

    def _pairs(self) -> Iterator[tuple[tf.Variable, tf.Variable]]:
        for copy, layer in zip(self.layers, self._followed(), strict=True):
            yield from zip(copy.trainable_variables, layer.trainable_variables, strict=True)


class Queue(tf.Module):
    """The last `size` rows that all replicas have pushed, [size, width], first in, first out.

    It starts full of random unit vectors.

    Args:
        size: a multiple of the rows that all replicas push at once.
        width: of a row.
        seed: of the first rows.
        dtype: of the rows.
    """

    def __init__(self, size: int, width: int, seed: int = 0, dtype: Any = None) -> None:
        super().__init__(name="queue")
        dtype = tf.as_dtype(dtype or tf.keras.backend.floatx())
        rows = tf.random.stateless_normal([size, width], [seed, size], dtype=dtype)
        self.rows = _shared_variable(tf.math.l2_normalize(rows, axis=1), "rows")
        self.start = _shared_variable(tf.zeros([], tf.int64), "start")

    def push(self, rows: tf.Tensor) -> None:
        """Overwrites the oldest rows with those [n, width] of every replica, in replica order."""
        new = tf.cast(gather_replicas(tf.stop_gradient(rows)), self.rows.dtype)  # [R * n, width]
        size, count = self.rows.shape[0], tf.shape(new, tf.int64)[0]
        places = (self.start + tf.range(count)) % size
        self.rows.assign(tf.tensor_scatter_nd_update(self.rows, places[:, tf.newaxis], new))
        self.start.assign((self.start + count) % size)


def _shared_variable(value: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(
        value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )


def _moved_on_replicas(create: Callable[..., tf.Variable], **options: Any) -> tf.Variable:
    """Lets replicas assign to a weight: all assign the same. Batch statistics have a rule of their own."""
    if options.get("aggregation") in (None, tf.VariableAggregation.NONE):
        options["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return create(**options)


def _copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    try:
        return type(layer).from_config(layer.get_config())
    except (NotImplementedError, TypeError) as error:
        raise UsageError(
            f"{layer.name}: its moving average needs a second one, which its get_config cannot make ({error})"
        ) from error
