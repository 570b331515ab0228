"""Two replicas train as one by NNCLR and PCL, and mistakes are seen; a process of its own.

Usage: neighbour_worker.py nnclr | pcl | worker OUTPUT.npz (by TF_CONFIG)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr import methods
from tf_simclr.checks import parity
from tf_simclr.methods import Method
from tf_simclr.methods.nnclr import NNCLR
from tf_simclr.methods.pcl import PCL
from tf_simclr.models import Pretraining
from tf_simclr.replicas import gather

Run = Callable[..., parity.Record]
GATHER = "tf_simclr.replicas.gather.gather_replicas"
KEYS = "tf_simclr.methods.state.gather_replicas"
NEAREST = "tf_simclr.methods.nnclr._nearest"
SHARE = "tf_simclr.replicas.gather.replica_share"


class QueueBeforeTheSearch(NNCLR):
    def targets(self, model: Any, views: tf.Tensor, training: bool) -> None:
        _, outputs = self.outputs(model, views, training=False)
        super().after_step(model, outputs, None, {})

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        pass


class QueriesForKeys(PCL):
    """The encoder's own z of view b, through which the loss is differentiated too."""

    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> Any:
        return super().loss(model, outputs, tf.math.l2_normalize(outputs, axis=1), batch)


class PlacesForIndices(PCL):
    """An image's place in the batch, not in the data set."""

    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> Any:
        return super().loss(model, outputs, targets, {"index": tf.range(tf.size(batch["index"], tf.int64))})


_gathered, _stop, _nearest = gather.gather_replicas, tf.stop_gradient, methods.nnclr._nearest


def own_rows(x: tf.Tensor) -> tf.Tensor:
    """What a replica that hears nothing takes for everyone's: the own rows, again and again."""
    return tf.tile(x, [gather.num_replicas(), *[1] * (x.shape.rank - 1)])


def stopped(x: tf.Tensor) -> tf.Tensor:
    return _gathered(_stop(x))


def straight_through(z: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The neighbour's value, but z is trained by it."""
    nearest, similarity = _nearest(z, rows)
    return z + _stop(nearest - z), similarity


def nnclr(strategy: tf.distribute.Strategy) -> None:
    options = {"queue_size": 32, "predictor_hidden_dim": 5, "temperature": 0.3}
    one, run = alone_and_run(strategy, NNCLR(**options))
    with mock.patch(KEYS, own_rows):
        differs("local keys in the queue", one, run(NNCLR(**options)))
    with mock.patch(GATHER, stopped):
        differs("no gradient from other replicas", one, run(NNCLR(**options)))
    with mock.patch(SHARE, lambda loss: loss):
        differs("gradient counted for each replica", one, run(NNCLR(**options)))
    with mock.patch.object(tf, "stop_gradient", tf.identity), mock.patch(NEAREST, straight_through):
        differs("no stop-gradient", one, run(NNCLR(**options)))
    differs("queue before the search", one, run(QueueBeforeTheSearch(**options)))


def pcl(strategy: tf.distribute.Strategy) -> None:
    options = {
        "queue_size": 32,
        "num_clusters": "20,24",
        "negative_prototypes": 4,
        "info_nce_epochs": 0,
        "key_momentum": 0.5,
    }
    one, run = alone_and_run(strategy, PCL(**options))
    alone_and_run(strategy, PCL(**{**options, "negative_prototypes": 0}))
    with mock.patch(KEYS, own_rows):
        differs("local keys in the queue", one, run(PCL(**options)))
    with mock.patch(GATHER, own_rows):
        differs("prototypes of the own images alone", one, run(PCL(**options)))
    with mock.patch(SHARE, lambda loss: loss):
        differs("gradient counted for each replica", one, run(PCL(**options)))
    differs("places for indices", one, run(PlacesForIndices(**options)))
    differs("no stop-gradient", one, run(QueriesForKeys(**options)))
    differs("no prototypes", one, run(PCL(**{**options, "info_nce_epochs": 1})))


def alone_and_run(strategy: tf.distribute.Strategy, method: Method) -> tuple[parity.Record, Run]:
    """What one replica records, and two the same; how two train by another method."""
    one = train(tf.distribute.get_strategy(), method)
    differences = parity.largest_differences(one, train(strategy, method))
    assert parity.holds(differences), parity.report(differences)
    return one, lambda other: train(strategy, other)


def train(strategy: tf.distribute.Strategy, method: Method) -> parity.Record:
    def make() -> Pretraining:
        model = parity.model(method=method)
        model.compile()
        method.between_epochs(model, images, 0)
        return model

    return parity.train(strategy, make)


def images() -> tf.data.Dataset:
    shape = [parity.STEPS * parity.IMAGES, parity.SIDE, parity.SIDE, 3]
    pictures = np.random.default_rng(1).uniform(size=shape)
    return tf.data.Dataset.from_tensor_slices({"image": pictures}).batch(20)


def differs(mistake: str, one: parity.Record, many: parity.Record) -> None:
    differences = parity.largest_differences(one, many)
    assert not parity.holds(differences), mistake
    assert max(value for value, _ in differences.values()) > 1e-3, (mistake, differences)
    print(f"differs: {mistake}: {parity.report(differences).splitlines()[1].strip()}")


def worker(output: str) -> None:
    """One of two workers whose k-means finds other clusters than the first one's."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    task = strategy.cluster_resolver.task_id
    means = PCL._k_means
    with mock.patch.object(
        PCL, "_k_means", lambda self, values, k, seed: means(self, values, k, seed + task)
    ):
        method = PCL(queue_size=32, num_clusters="5", negative_prototypes=0, info_nce_epochs=0)
        tf.keras.backend.set_floatx("float64")
        with strategy.scope():
            model = parity.model(method=method)
            model.compile()
            method.between_epochs(model, images, 0)
    found = model.state["clustering_5"]
    np.savez(output, prototypes=found.prototypes.numpy(), cluster_of=found.cluster_of.numpy())


def main() -> None:
    if sys.argv[1] == "worker":
        worker(sys.argv[2])
        return
    tf.keras.backend.set_floatx("float64")
    strategy = tf.distribute.MirroredStrategy(parity.virtual_devices(2))
    {"nnclr": nnclr, "pcl": pcl}[sys.argv[1]](strategy)


if __name__ == "__main__":
    main()
