"""Mistakes that SupCon and MoCo could make on several replicas: each must break parity.

Usage: contrast_worker.py supcon | moco
"""

from __future__ import annotations

import contextlib
import functools
import sys
from unittest import mock

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.methods import Method
from tf_simclr.methods.moco import MoCo
from tf_simclr.methods.supcon import SupCon
from tf_simclr.replicas import gather

QUEUE = MoCo(queue_size=64, key_momentum=0.5)
SYMMETRIC_QUEUE = MoCo(queue_size=64, key_momentum=0.5, symmetric=True)
IN_BATCH = MoCo(
    queue_size=0, key_momentum=0.5, symmetric=True, predictor_hidden_dim=5, key_momentum_cosine=True
)


def require(
    strategy: tf.distribute.Strategy, kind: str, method: Method, mistake: contextlib.AbstractContextManager
) -> None:
    """That the method trains as one, and with the mistake does not."""
    make = functools.partial(parity.model, method=method)
    one = parity.train(tf.distribute.get_strategy(), make)
    sound = parity.largest_differences(one, parity.train(strategy, make))
    assert parity.holds(sound), parity.report(sound)
    with mistake:
        differences = parity.largest_differences(one, parity.train(strategy, make))
    assert differences["gradients"][0] > 1e-3, (kind, differences)
    print(kind, differences["gradients"][0])


def own_labels_alone(labels: tf.Tensor) -> tf.Tensor:
    """Labels of the other replicas are lost on the way."""
    everything = gather.gather_replicas(labels)
    own = tf.cast(gather.replica_id(), labels.dtype)
    mine = gather.gather_replicas(tf.ones_like(labels) * own) == own
    return tf.where(mine, everything, -1)


def own_keys_alone(keys: tf.Tensor) -> tf.Tensor:
    """Every replica takes its own keys for those of all."""
    return tf.tile(keys, [gather.num_replicas(), 1])


def supcon(strategy: tf.distribute.Strategy) -> None:
    gathering = mock.Mock(wraps=gather, gather_replicas=own_labels_alone)
    require(
        strategy, "local positives", SupCon(0.2), mock.patch("tf_simclr.methods.supcon.gather", gathering)
    )


def moco(strategy: tf.distribute.Strategy) -> None:
    in_queue = mock.patch("tf_simclr.methods.state.gather_replicas", own_keys_alone)
    require(strategy, "local keys in the queue", QUEUE, in_queue)
    require(strategy, "local keys in the queue, both views", SYMMETRIC_QUEUE, in_queue)
    gathering = mock.Mock(wraps=gather, gather_replicas=own_keys_alone)
    require(
        strategy, "local keys of the batch", IN_BATCH, mock.patch("tf_simclr.methods.moco.gather", gathering)
    )


if __name__ == "__main__":
    two = tf.distribute.MirroredStrategy(parity.virtual_devices(2))
    {"supcon": supcon, "moco": moco}[sys.argv[1]](two)
