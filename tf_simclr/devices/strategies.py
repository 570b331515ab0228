"""Devices: a tf.distribute strategy by name, and the precision of the arithmetic."""

from __future__ import annotations

import os
import socket

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.config.groups import Devices
from tf_simclr.devices.cluster import this_worker
from tf_simclr.errors import UsageError
from tf_simclr.methods import name_of


def set_up(config: Config, strategy: tf.distribute.Strategy | None = None) -> tf.distribute.Strategy:
    """Sets seeds, precision and determinism for the process, and returns the strategy; or the one given.

    Raises:
        UsageError: when the devices asked for are not there.
    """
    tf.keras.utils.set_random_seed(config.run.seed)
    if config.run.deterministic:
        tf.config.experimental.enable_op_determinism()
    precision = config.devices.precision
    tf.keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    return strategy or make_strategy(config.devices)


def make_strategy(devices: Devices) -> tf.distribute.Strategy:
    """The strategy of --strategy; `auto` takes TF_CONFIG, then a TPU's name, then all GPUs.

    Raises:
        UsageError: when the devices asked for are not there.
    """
    name = devices.strategy if devices.strategy != "auto" else _automatic(devices)
    _check_flags(devices, name)
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(_all_devices())
    if name == "multi_worker":
        this_worker(devices)
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu(devices)


def check_batch(config: Config, replicas: int) -> None:
    """Whether the global batch divides by replicas and micro-batches, and is what the method can take.

    Raises:
        UsageError: it does not.
    """
    batch, chunks = config.optimization.train_batch_size, config.memory.micro_batches
    if batch % replicas:
        raise UsageError(f"--train_batch_size={batch} does not divide by the {replicas} replicas")
    own = batch // replicas
    if own % chunks:
        raise UsageError(f"--micro_batches={chunks} does not divide the {own} images of a replica")
    if chunks > 1 and not config.method.micro_batches:
        raise UsageError(
            f"--micro_batches={chunks}: --method={name_of(config.method)} takes whole batches only"
        )
    config.method.check(own, replicas)


def _automatic(devices: Devices) -> str:
    if os.environ.get("TF_CONFIG"):
        return "multi_worker"
    if devices.tpu_name:
        return "tpu"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one_device"


def _check_flags(devices: Devices, name: str) -> None:
    for flag in ("tpu_name", "tpu_zone", "gcp_project"):
        if getattr(devices, flag) and name != "tpu":
            raise UsageError(f"--{flag} is for --strategy=tpu, not {name}; leave it out")
    if name == "tpu" and devices.precision == "float16":
        raise UsageError("--precision=float16 is not for TPUs: give --precision=bfloat16, their own 16 bits")


def _all_devices() -> list[str]:
    """All GPUs; without any, all logical CPUs."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def _tpu(devices: Devices) -> tf.distribute.Strategy:
    if not devices.tpu_name:
        raise UsageError(
            "--strategy=tpu needs --tpu_name: a TPU's name, grpc://HOST:PORT, or local on its VM"
        )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            devices.tpu_name, zone=devices.tpu_zone or None, project=devices.gcp_project or None
        )
        _require_answer(resolver.master())
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # whatever the lookup of a name in the cloud raises
        raise UsageError(f"--tpu_name={devices.tpu_name}: no TPU found there: {str(error)[:200]}") from error
    return tf.distribute.TPUStrategy(resolver)


def _require_answer(master: str) -> None:
    """Fails where nothing answers at grpc://HOST:PORT: TensorFlow would wait without end."""
    host, _, port = master.removeprefix("grpc://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=10).close()
