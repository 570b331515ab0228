"""Runs batch norm on one and on two virtual CPU devices, and traces the train step on two.

`test_batch_norm.py`, `test_simclr.py`, `test_finite.py` and `test_device_views.py` judge what it writes.

A script of its own, because virtual devices must be set before TensorFlow starts.
Usage: python two_replicas.py OUTPUT.npz
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

import tensorflow as tf  # isort: skip

from tests.data.pictures import images_of_several_sizes
from tf_simclr.augment import Augmentations, ColorDistortion, GaussianBlur
from tf_simclr.data import Sampling
from tf_simclr.data.crops import crop_batches
from tf_simclr.data.device_views import DeviceViews
from tf_simclr.data.resident import decode_all
from tf_simclr.devices.distribution import distributed_batches
from tf_simclr.errors import UsageError
from tf_simclr.models import BatchNorm, Classifier, ProjectionHead, ResNet, SimCLR
from tf_simclr.optimizers import LARS

Results = dict[str, np.ndarray]


def two_cpus() -> tf.distribute.Strategy:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(
    make: Callable[[], list],
    values: np.ndarray,
    split: Sequence[int],
    strategy: tf.distribute.Strategy | None,
) -> Results:
    """Applies layers in training mode to `values`, `split` of them on each replica; gradients of sum(y^3)."""
    with (strategy or tf.distribute.get_strategy()).scope():
        layers = make()
    shared = [variable for layer in layers for variable in layer.trainable_variables]

    def step(x: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for layer in layers:
                y = layer(y, training=True)
            loss = tf.reduce_sum(y**3)
        return y, tape.gradient(loss, [x, *shared])

    if strategy is None:
        y, gradients = tf.function(step)(tf.constant(values))
        replicas = [(y, gradients)]
    else:
        parts = np.split(values, np.cumsum(split)[:-1])
        x = strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(parts[c.replica_id_in_sync_group])
        )
        y, gradients = tf.function(lambda x: strategy.run(step, [x]))(x)
        local = strategy.experimental_local_results
        replicas = list(zip(local(y), zip(*map(local, gradients), strict=True), strict=True))
    results = {"outputs": np.concatenate([y for y, _ in replicas])}
    results["gradient_input"] = np.concatenate([g[0] for _, g in replicas])
    for i, variable in enumerate(shared, start=1):
        results[f"gradient_{i}_{variable.name}"] = sum(g[i].numpy() for _, g in replicas)
    for layer in layers:
        for i, variable in enumerate(layer.non_trainable_variables):
            results[f"moving_{i}_{variable.name}"] = variable.numpy()
    return results


def built(layers: list, shape: Sequence[int]) -> list:
    for layer in layers:
        if not layer.built:
            layer.build(tf.TensorShape(shape))
    return layers


def encoder_and_head() -> list:
    tf.keras.utils.set_random_seed(0)
    encoder = ResNet(18, 1 / 16, stem="cifar")
    for path, variable in encoder.variables_in_creation_order():
        if path.endswith("gamma"):
            variable.assign(tf.ones_like(variable))
    head = ProjectionHead(out_dim=4)
    head(tf.keras.Input([encoder.output_dim]))
    return [encoder, head]


def count_all_reduces(strategy: tf.distribute.Strategy, values: np.ndarray) -> Results:
    original, calls = tf.distribute.ReplicaContext.all_reduce, []

    def counting(self: tf.distribute.ReplicaContext, *args: object, **kwargs: object) -> tf.Tensor:
        calls.append(self)
        return original(self, *args, **kwargs)

    tf.distribute.ReplicaContext.all_reduce = counting
    train(lambda: built([BatchNorm()], values.shape), values, [4, 4], strategy)
    tf.distribute.ReplicaContext.all_reduce = original
    return {"of_both_replicas": np.array(len(calls))}


def carried_over(strategy: tf.distribute.Strategy, values: np.ndarray) -> Results:
    """Moving statistics after a checkpoint went from two replicas to one and back."""
    with strategy.scope():
        first = built([BatchNorm(global_bn=False)], values.shape)[0]
        third = built([BatchNorm(global_bn=False)], values.shape)[0]
    parts = strategy.experimental_distribute_values_from_function(
        lambda c: tf.constant(np.split(values, 2)[c.replica_id_in_sync_group])
    )
    strategy.run(lambda x: first(x, training=True), [parts])
    second = built([BatchNorm()], values.shape)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = tf.train.Checkpoint(bn=first).write(f"{folder}/a")
        tf.train.Checkpoint(bn=second).read(path).assert_consumed()
        path = tf.train.Checkpoint(bn=second).write(f"{folder}/b")
        tf.train.Checkpoint(bn=third).read(path).assert_consumed()
    return {
        f"{name}_{i}": variable.numpy()
        for name, layer in (("saved", first), ("one", second), ("two", third))
        for i, variable in enumerate(layer.non_trainable_variables)
    }


def operations_of_the_step(strategy: tf.distribute.Strategy) -> Results:
    """Types of operation in the whole step, and those of float64."""
    with strategy.scope():
        convolution = tf.keras.layers.Conv2D(4, 3, input_shape=[24, 24, 3])
        model = SimCLR(
            tf.keras.Sequential([convolution, BatchNorm(), tf.keras.layers.GlobalAveragePooling2D()]),
            ProjectionHead(out_dim=4),
            Augmentations([ColorDistortion(), GaussianBlur()]),
            num_classes=2,
            block_size=4,
        )
        model.compile(LARS(0.1))
        model.optimizer.build(model.trainable_variables)
    batch = {"views": tf.zeros([4, 2, 24, 24, 3], tf.uint8), "label": tf.zeros([4], tf.int64)}
    batches = strategy.experimental_distribute_values_from_function(lambda _: batch)
    step = tf.function(lambda batch: strategy.run(model.train_step, [batch]))
    definition = step.get_concrete_function(batches).graph.as_graph_def()
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    types = {node.op for node in nodes}
    wide = {
        node.op for node in nodes if any(a.type == tf.float64.as_datatype_enum for a in node.attr.values())
    }
    return {"types": np.array(sorted(types)), "float64": np.array(sorted(wide), dtype=str)}


def shares(strategy: tf.distribute.Strategy) -> Results:
    """What `fit` says of batches that two replicas cannot share equally, by name."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [
            tf.keras.layers.Conv2D(4, 3, input_shape=[8, 8, 3]),
            tf.keras.layers.GlobalAveragePooling2D(),
        ]
        model = SimCLR(tf.keras.Sequential(layers), ProjectionHead(out_dim=4))
        model.compile("sgd")
    views = tf.data.Dataset.from_tensor_slices({"views": tf.zeros([10, 2, 8, 8, 3], tf.uint8)})
    said = {}
    for name, batches in {
        "odd": views.batch(5, drop_remainder=True),
        "unknown": views.batch(4),
        "equal": views.batch(4, drop_remainder=True),
    }.items():
        try:
            model.fit(batches, verbose=0)
            said[name] = np.array("")
        except UsageError as error:
            said[name] = np.array(str(error))
    return said


def broken_on_one_replica(strategy: tf.distribute.Strategy) -> Results:
    """The watches of both replicas, and kernels, after a good step and one with a broken image."""
    images = np.random.default_rng(3).uniform(size=[2, 4, 2, 2, 3]).astype(np.float32)
    images[1, 3] = np.nan
    results: Results = {}
    for name, allowed in (("stops", 0), ("skips", 1)):
        with strategy.scope():
            layers = [tf.keras.Input([2, 2, 3]), tf.keras.layers.Flatten(), tf.keras.layers.Dense(3)]
            model = Classifier(tf.keras.Sequential(layers), 2)
            model.compile(optimizer=tf.keras.optimizers.SGD(0.1, momentum=0.9))
        model.watch().skips = allowed > 0
        model.watch().allow(allowed)
        data = {"image": images, "label": np.array([[0, 1, 1, 0]] * 2)}
        model.fit(tf.data.Dataset.from_tensor_slices(data), verbose=0)
        local = strategy.experimental_local_results
        results[name] = np.stack([part.numpy() for part in local(model.watch()._state)])
        results["kernels"] = np.stack([part.numpy() for part in local(model.encoder.layers[-1].kernel)])
    return results


def fed_by_the_device(strategy: tf.distribute.Strategy) -> Results:
    """The views of a batch that both replicas make of images in their memory, and one device."""
    source, sampling = images_of_several_sizes(), Sampling(image_size=6, batch_size=4, seed=1)
    images = decode_all(source)

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        return crop_batches(source, sampling, images, num_uniforms=1)

    results = {}
    for name, where in (("whole", tf.distribute.get_strategy()), ("shares", strategy)):
        with where.scope():
            views = DeviceViews(images, 6)
        make = tf.function(lambda batch, views=views, where=where: where.run(views, [batch]))
        made = make(next(iter(distributed_batches(where, batches_from, 0, 4))))["views"]
        results[name] = np.stack([part.numpy() for part in where.experimental_local_results(made)])
    return {**results, "whole": results["whole"][0]}


def main(output: str) -> None:
    strategy = two_cpus()
    tf.keras.backend.set_floatx("float64")
    rng = np.random.default_rng(0)
    images = rng.normal(2, 3, [8, 3, 3, 4])
    vectors = rng.normal(-1, 2, [8, 5])
    pictures = rng.uniform(size=[8, 8, 8, 3])
    cases = {
        "rank4": (lambda: built([BatchNorm()], [None, None, None, 4]), images, [5, 3]),
        "rank2": (lambda: built([BatchNorm(center=False)], [None, 5]), vectors, [5, 3]),
        "empty": (lambda: built([BatchNorm()], [None, 5]), vectors, [8, 0]),
        "model": (encoder_and_head, pictures, [4, 4]),
    }
    results: Results = {}
    for name, (make, values, split) in cases.items():
        for replicas, where in (("one", None), ("two", strategy)):
            found = train(make, values, split, where)
            results |= {f"{name}/{replicas}/{key}": value for key, value in found.items()}
    local = train(lambda: built([BatchNorm(global_bn=False)], [None, 5]), vectors, [4, 4], strategy)
    results |= {f"local/{key}": value for key, value in local.items()}
    results |= {f"all_reduces/{key}": value for key, value in count_all_reduces(strategy, images).items()}
    results |= {f"carried/{key}": value for key, value in carried_over(strategy, vectors).items()}
    results["vectors"] = vectors

    tf.keras.backend.set_floatx("float32")
    far = (1e4 + rng.normal(size=[64, 4, 4, 2])).astype(np.float32)
    found = train(lambda: built([BatchNorm()], far.shape), far, [40, 24], strategy)
    results |= {f"far/{key}": value for key, value in found.items()}
    results["far/values"] = far
    results |= {f"shares/{key}": value for key, value in shares(strategy).items()}
    results |= {f"step/{key}": value for key, value in operations_of_the_step(strategy).items()}
    results |= {f"broken/{key}": value for key, value in broken_on_one_replica(strategy).items()}
    results |= {f"fed/{key}": value for key, value in fed_by_the_device(strategy).items()}
    np.savez(output, **{key.replace(":0", ""): value for key, value in results.items()})


if __name__ == "__main__":
    main(sys.argv[1])
