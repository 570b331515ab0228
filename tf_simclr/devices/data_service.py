"""Batches made by tf.data services: TensorFlow's own dispatchers and workers, on other machines.

Each service makes its slice of every global batch, and the slices are put together in order. So the batches
are those that this process would make, image by image and draw by draw, however many services there
are. That holds for services of one worker each: several workers behind one dispatcher make the same slice,
each of them. So every slice carries its step, which is compared with the step that it arrives at.
"""

from __future__ import annotations

import re
import socket

import tensorflow as tf

from tf_simclr.devices.distribution import BatchesFrom
from tf_simclr.errors import UsageError

_SECONDS = 10  # to answer
_OUT_OF_TURN = "out of turn: "


def through_services(addresses: str, batches_from: BatchesFrom) -> BatchesFrom:
    """`batches_from`, computed by the services of --data_service; itself where there are none.

    Raises:
        UsageError: an address that is no grpc://HOST:PORT, or where nothing answers.
    """
    services = [address.strip() for address in addresses.split(",")] if addresses else []
    if not services:
        return batches_from
    for address in services:
        _require_answer(address)
    count = len(services)

    def from_step(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        try:
            own = [batches_from(step, worker * count + i, num_workers * count) for i in range(count)]
        except UsageError as error:  # to which every service is a worker
            raise UsageError(f"--data_service names {count} services for each worker: {error}") from error
        slices = [_made_by(address, part, step) for part, address in zip(own, services, strict=True)]
        joined = slices[0] if count == 1 else tf.data.Dataset.zip(tuple(slices)).map(_concatenated)
        return joined.prefetch(tf.data.AUTOTUNE)

    return from_step


def _made_by(address: str, batches: tf.data.Dataset, step: int) -> tf.data.Dataset:
    """The batches, made by a service, each at its step or with an error that names the service."""
    far = tf.data.experimental.service.distribute(
        processing_mode=tf.data.experimental.service.ShardingPolicy.OFF, service=address
    )

    def checked(due: tf.Tensor, numbered: tuple[tf.Tensor, dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        number, batch = numbered
        with tf.control_dependencies([tf.debugging.assert_equal(number, due, f"{_OUT_OF_TURN}<{address}>")]):
            return tf.nest.map_structure(tf.identity, batch)

    return batches.enumerate(step).apply(far).enumerate(step).map(checked)


def out_of_turn(error: Exception) -> UsageError | None:
    """The mistake behind an error of training where a service gave a batch that was not due."""
    found = re.search(rf"{_OUT_OF_TURN}<(.+?)>", str(error))
    return found and UsageError(
        f"--data_service={found.group(1)}: gives batches twice or out of turn; start it anew, with one "
        "worker behind its dispatcher and no more, then run the command again"
    )


def _concatenated(*slices: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.concat([part[name] for part in slices], axis=0) for name in slices[0]}


def _require_answer(address: str) -> None:
    protocol, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    if protocol != "grpc" or not host or not re.fullmatch(r"\d{1,5}", port):
        raise UsageError(f"--data_service={address}: give grpc://HOST:PORT, several with commas")
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(
            f"--data_service={address}: no dispatcher answers there ({error}); start a "
            "tf.data.experimental.service.DispatchServer and a WorkerServer"
        ) from error
