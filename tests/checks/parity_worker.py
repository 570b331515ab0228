"""What test_parity.py runs in processes of their own, since TensorFlow's devices are fixed at its start.

Usage: parity_worker.py mistakes | worker OUTPUT.npz (by TF_CONFIG) | alone OUTPUT.npz | checkpoints FOLDER N
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from unittest import mock

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf
from etils import epath

from tf_simclr.checks import parity
from tf_simclr.config import Config
from tf_simclr.models import SimCLR
from tf_simclr.runs.checkpoints import Checkpoints


def local_batch_norm() -> SimCLR:
    return parity.model(parity.small_encoder(global_bn=False))


def in_chunks() -> SimCLR:
    model = parity.model()
    model.micro_batches, model.l2 = 2, 0.1
    return model


def differs(
    kind: str, one: parity.Record, strategy: tf.distribute.Strategy, make: Callable[[], SimCLR]
) -> None:
    differences = parity.largest_differences(one, parity.train(strategy, make))
    assert not parity.holds(differences), kind
    assert differences["gradients"][0] > 1e-3, (kind, differences)
    print(kind, differences["gradients"][0])


def mistakes() -> None:
    strategy = tf.distribute.MirroredStrategy(parity.virtual_devices(2))
    one = parity.train(tf.distribute.get_strategy())
    with mock.patch("tf_simclr.replicas.gather.num_replicas", return_value=1):
        differs("local loss", one, strategy, parity.model)
    differs("local batch norm", one, strategy, local_batch_norm)
    with mock.patch("tf_simclr.models.losses.sum_replicas", lambda count: count):
        differs("a mean of the own labels that is not divided by the replicas", one, strategy, parity.model)
    for make in (parity.model, in_chunks):
        alone = parity.train(tf.distribute.get_strategy(), make)
        differences = parity.largest_differences(alone, parity.train(strategy, make))
        assert parity.holds(differences), differences


def checkpoints(folder: epath.Path, replicas: int) -> None:
    """Loads what is in `folder` under one replica and `replicas`; saves one of each that is missing."""
    alone = tf.distribute.get_strategy()
    several = tf.distribute.MirroredStrategy(parity.virtual_devices(replicas))
    for count, strategy in ((1, alone), (replicas, several)):
        if not (folder / str(count)).exists():
            save(folder / str(count), strategy)
    loaded = 0
    for saved in sorted(folder.iterdir()):
        expected = np.load(saved / "state.npz")
        for strategy in (alone, several):
            model = trained(strategy)
            for variable in model.variables:
                variable.assign(variable + 1)
            assert Checkpoints(saved, model, keep=1).restore_newest(Config("pretrain")) == parity.STEPS
            for name, value in state(model).items():
                np.testing.assert_allclose(value, expected[name], rtol=1e-13, err_msg=name)
            loaded += 1
    print(loaded, "loaded")


def save(folder: epath.Path, strategy: tf.distribute.Strategy) -> None:
    model = trained(strategy)
    for variable in model.trainable_variables:
        variable.assign(2 * variable)
    Checkpoints(folder, model, keep=1).save(parity.STEPS)
    np.savez(folder / "state.npz", **state(model))


def trained(strategy: tf.distribute.Strategy) -> SimCLR:
    models: list[SimCLR] = []

    def make() -> SimCLR:
        models.append(parity.model())
        return models[0]

    parity.train(strategy, make)
    return models[0]


def state(model: SimCLR) -> dict[str, np.ndarray]:
    optimizer = model.optimizer.variables
    groups = {
        "model": model.variables,
        "optimizer": optimizer() if callable(optimizer) else optimizer,
        "metrics": [variable for metric in model.metrics for variable in metric.variables],
    }
    return {
        f"{group} {i}": variable.numpy()
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


def main() -> None:
    if sys.argv[1] == "mistakes":
        mistakes()
        return
    if sys.argv[1] == "checkpoints":
        checkpoints(epath.Path(sys.argv[2]), int(sys.argv[3]))
        return
    alone = sys.argv[1] == "alone"
    strategy = tf.distribute.get_strategy() if alone else tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == (1 if alone else 2)
    np.savez(sys.argv[2], **parity.train(strategy))


if __name__ == "__main__":
    main()
