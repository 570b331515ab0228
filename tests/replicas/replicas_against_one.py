"""Trains a linear encoder by NT-Xent on n virtual CPU devices and on one; run by test_replicas.py."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.objectives import Contrast, gather_replicas, nt_xent
from tf_simclr.optimizers import LARS

N, INPUTS, D, STEPS = 12, 7, 5, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=[N, INPUTS])
VIEWS = np.stack([IMAGES, IMAGES + 0.4 * RNG.normal(size=[N, INPUTS])])
KERNEL = RNG.normal(size=[INPUTS, D])
BIAS = RNG.normal(size=[D])


def train(strategy: tf.distribute.Strategy, objective: Callable[[tf.Tensor], Contrast]) -> list[np.ndarray]:
    """The weights after some steps of LARS, and every step's loss, accuracy and entropy."""
    with strategy.scope():
        kernel, bias = tf.Variable(KERNEL), tf.Variable(BIAS)
        optimizer = LARS(0.5, weight_decay=1e-3, trust_coefficient=0.1)
        optimizer.exclude_from_weight_decay(var_list=[bias])
        optimizer.build([kernel, bias])
    n = N // strategy.num_replicas_in_sync

    def replica_views(context: tf.distribute.ReplicaContext | tf.distribute.InputContext) -> tf.Tensor:
        mine = slice(context.replica_id_in_sync_group * n, (context.replica_id_in_sync_group + 1) * n)
        return tf.constant(VIEWS[:, mine].reshape(2 * n, INPUTS))

    views = strategy.experimental_distribute_values_from_function(replica_views)

    def step(views: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            result = objective(views @ kernel + bias)
        gradients = tape.gradient(result.loss, [kernel, bias])
        optimizer.apply_gradients(zip(gradients, [kernel, bias], strict=True))
        return tf.stack(result)

    run = tf.function(lambda: strategy.run(step, args=(views,)))
    metrics = [strategy.experimental_local_results(run()) for _ in range(STEPS)]
    for per_replica in metrics:
        for other in per_replica[1:]:
            np.testing.assert_allclose(per_replica[0], other, rtol=1e-14)
    return [kernel.numpy(), bias.numpy(), np.array([m[0] for m in metrics])]


def local_nt_xent(z: tf.Tensor) -> Contrast:
    """The mistake: negatives of the own replica only."""
    similarities = tf.matmul(tf.math.l2_normalize(z, -1), tf.math.l2_normalize(z, -1), transpose_b=True) / 0.2
    masked = tf.linalg.set_diag(similarities, tf.fill([z.shape[0]], z.dtype.min))
    positives = tf.linalg.diag_part(tf.roll(similarities, z.shape[0] // 2, axis=1))
    loss = tf.reduce_sum(tf.reduce_logsumexp(masked, axis=1) - positives) / N
    total = tf.distribute.get_replica_context().all_reduce("SUM", tf.stop_gradient(loss))
    return Contrast(loss + tf.stop_gradient(total - loss), total, total)


def check_gather(strategy: tf.distribute.Strategy) -> None:
    """Value, order, and a gradient that sums what all replicas send back."""
    replicas = strategy.num_replicas_in_sync

    def gather() -> tuple[tf.Tensor, tf.Tensor]:
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float64)
        x = tf.reshape(2 * replica, [1, 1]) + tf.constant([[0.0], [1.0]], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum((replica + 1) * gather_replicas(x) ** 2)
        return gather_replicas(x), tape.gradient(loss, x)

    values, gradients = (strategy.experimental_local_results(v) for v in strategy.run(tf.function(gather)))
    rows = np.arange(2.0 * replicas)[:, None]
    for r in range(replicas):
        np.testing.assert_array_equal(values[r], rows)
        scale = 2 * sum(range(1, replicas + 1))
        np.testing.assert_allclose(gradients[r], scale * rows[2 * r : 2 * r + 2])


def main() -> None:
    replicas = int(sys.argv[1])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    many = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    expected = train(one, lambda z: nt_xent(z, 0.2))
    for block_size in (None, 2, 100):
        got = train(many, lambda z, k=block_size: nt_xent(z, 0.2, block_size=k))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"block_size {block_size}")
    for a, b in zip(train(one, local_nt_xent)[:2], expected[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert np.abs(train(many, local_nt_xent)[0] - expected[0]).max() > 1e-4
    print("a local loss differs")
    check_gather(many)


if __name__ == "__main__":
    main()
