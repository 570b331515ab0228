"""Two replicas train as one by BYOL, SimSiam and Barlow Twins, and mistakes are seen; a process of its own.

Usage: predicting_worker.py byol | simsiam | barlow_twins
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.methods import Method
from tf_simclr.methods.barlow_twins import BarlowTwins
from tf_simclr.methods.byol import BYOL
from tf_simclr.methods.simsiam import SimSiam
from tf_simclr.replicas import gather

Run = Callable[[Method], parity.Record]
SHARE = "tf_simclr.replicas.gather.replica_share"


class AverageBeforeTheStep(BYOL):
    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        model.state["target"].update(self.target_ema(model.optimizer.iterations, model.total_steps))
        return super().targets(model, views, training)

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        pass


class ScheduleOneStepAhead(BYOL):
    def target_ema(self, step: Any, total_steps: int) -> tf.Tensor:
        return super().target_ema(step + 1, total_steps)


class OwnProjectionsForTargets(BYOL):
    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> Any:
        return super().loss(model, outputs, outputs[0], batch)


class NoStopGradient(SimSiam):
    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> Any:
        with mock.patch.object(tf, "stop_gradient", tf.identity):
            return super().loss(model, outputs, targets, batch)


def blind_gather(z: tf.Tensor) -> tf.Tensor:
    """All rows, but a gradient through the own ones alone: an all-reduce that the tape does not see."""
    everything = gather.gather_views(tf.stop_gradient(z))
    places = gather.positions_of_views(tf.shape(z)[0] // 2)[:, tf.newaxis]
    return tf.tensor_scatter_nd_add(everything, places, z - tf.stop_gradient(z))


def byol(one: parity.Record, run: Run) -> None:
    options = {"base_target_ema": 0.5, "predictor_hidden_dim": 5}
    differs("average before the step", one, run(AverageBeforeTheStep(**options)))
    differs("schedule one step ahead", one, run(ScheduleOneStepAhead(**options)))
    differs("no stop-gradient", one, run(OwnProjectionsForTargets(**options)))
    with mock.patch(SHARE, lambda loss: loss):
        differs("gradient counted for each replica", one, run(BYOL(**options)))


def simsiam(one: parity.Record, run: Run) -> None:
    differs("no stop-gradient", one, run(NoStopGradient(predictor_hidden_dim=5)))
    with mock.patch(SHARE, lambda loss: loss):
        differs("gradient counted for each replica", one, run(SimSiam(predictor_hidden_dim=5)))


def barlow_twins(one: parity.Record, run: Run) -> None:
    with mock.patch("tf_simclr.replicas.gather.gather_views", lambda z: z):
        differs("local cross-correlation", one, run(BarlowTwins()))
    with mock.patch(SHARE, lambda loss: loss):
        differs("gradient counted for each replica", one, run(BarlowTwins()))
    gathering = mock.Mock(wraps=gather, gather_views=blind_gather)
    with mock.patch("tf_simclr.methods.barlow_twins.gather", gathering):
        differs("all-reduce without gradient", one, run(BarlowTwins()))


METHODS: dict[str, tuple[Method, Callable[[parity.Record, Run], None]]] = {
    "byol": (BYOL(base_target_ema=0.5, predictor_hidden_dim=5), byol),
    "simsiam": (SimSiam(predictor_hidden_dim=5), simsiam),
    "barlow_twins": (BarlowTwins(), barlow_twins),
}


def differs(kind: str, one: parity.Record, wrong: parity.Record) -> None:
    differences = parity.largest_differences(one, wrong)
    assert not parity.holds(differences), kind
    assert differences["gradients"][0] > 1e-3, (kind, differences)
    print(f"{kind}: gradients differ by {differences['gradients'][0]:.2g}")


def main(name: str) -> None:
    strategy = tf.distribute.MirroredStrategy(parity.virtual_devices(2))
    method, mistakes = METHODS[name]

    def run(wrong: Method, where: tf.distribute.Strategy = strategy) -> parity.Record:
        return parity.train(where, lambda: parity.model(method=wrong))

    one = run(method, tf.distribute.get_strategy())
    differences = parity.largest_differences(one, run(method))
    assert parity.holds(differences), differences
    mistakes(one, run)


if __name__ == "__main__":
    main(sys.argv[1])
