"""Train steps on 1, 2, ... replicas: images/s and the efficiency of each.

    python -m benchmarks.scaling [--replicas=1,2,4]

A replica's batch stays as large. On n GPUs efficiency is the rate over n times that of one. Without GPUs
one CPU is divided into virtual devices, which share its cores: then it is the rate over that of one, and
shows what the exchange between replicas costs, not what more hardware gains. Each number of replicas has a
process of its own: TensorFlow keeps one group of devices a process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import app, flags

from benchmarks import device
from benchmarks.contest import Claim, Contest, publish, take_turns
from tf_simclr import augment, models, optimizers
from tf_simclr.checks import parity
from tf_simclr.devices.distribution import distributed_batches

REPLICAS = flags.DEFINE_list("replicas", [], "how many, beside 1; empty: powers of 2 up to the GPUs, or to 4")
BATCH = flags.DEFINE_integer("batch_size", 0, "images a replica; 0: 32, on GPUs 512", lower_bound=0)
WIDTH = flags.DEFINE_float("width", 0.25, "of the ResNet-18 (CIFAR stem)", lower_bound=0.01)
STEPS = flags.DEFINE_integer("steps", 4, "a turn", lower_bound=1)
SERVE = flags.DEFINE_integer("serve", 0, "replicas of this process, which does a turn a line; internal")
SIDE = 32
VIRTUAL = 4  # replicas at most on CPUs, where no more are asked for


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    place = device.choose()
    own = BATCH.value or (512 if place == "GPU" else 32)
    if SERVE.value:
        return serve(steps_on(devices(place, SERVE.value), own))
    counts = counts_of(place)
    with contextlib.ExitStack() as stack:
        seconds = take_turns({title(count): stack.enter_context(served(count)) for count in counts})
    contest = Contest(
        f"train step, ResNet-18 at width {WIDTH.value:g}, {own} images of {SIDE} px a replica on {place}s",
        {title(count): [one / count for one in seconds[title(count)]] for count in counts},  # of equal work
        amount=STEPS.value * own,
        unit="images",
        claims=[Claim(title(count), title(1)) for count in counts[1:]],
    )
    shares = {
        count: contest.ratio(Claim(title(count), title(1))) / (count if place == "GPU" else 1)
        for count in counts
    }
    publish("scaling", contest, devices="virtual" if place == "CPU" else "real", efficiency=shares)
    for count, share in shares.items():
        print(f"  efficiency of {title(count)}: {share:.2f}")


def counts_of(place: str) -> list[int]:
    """1 and the numbers of replicas asked for, ascending.

    Raises:
        UsageError: there are no such replicas.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    known = range(1, gpus + 1) if place == "GPU" else (1, 2, 4, 8, 16)
    most = gpus if place == "GPU" else VIRTUAL
    asked = REPLICAS.value or [str(2**power) for power in range(most.bit_length())]
    if any(not one.isdecimal() or int(one) not in known for one in asked):
        raise app.UsageError(f"--replicas={','.join(asked)}: give some of {', '.join(map(str, known))}")
    return sorted({1, *map(int, asked)})


def devices(place: str, count: int) -> list[str]:
    return [f"GPU:{i}" for i in range(count)] if place == "GPU" else parity.virtual_devices(count)


def serve(turn: Callable[[], None]) -> None:
    """A turn for every line of standard input, answered by a line."""
    for _ in sys.stdin:
        turn()
        print("done", flush=True)


@contextlib.contextmanager
def served(count: int) -> Iterator[Callable[[], None]]:
    """A turn on `count` replicas in a process that stays until the block ends."""
    own = [f"--{name}={flags.FLAGS[name].value}" for name in ("device", "batch_size", "width", "steps")]
    command = [sys.executable, "-m", "benchmarks.scaling", f"--serve={count}", *own]
    environment = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # the processes share the GPUs
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        lines, answers = process.stdin, process.stdout

        def turn() -> None:
            print(file=lines, flush=True)
            if answers.readline() != "done\n":
                errors.seek(0)
                raise RuntimeError(f"{title(count)}: {errors.read()[-2000:]}")

        try:
            yield turn
        finally:
            process.kill()


def title(count: int) -> str:
    return f"{count} replica" + "s" * (count > 1)


def steps_on(names: list[str], own: int) -> Callable[[], None]:
    """A turn of steps on ready views, on replicas at these devices."""
    strategy = (
        tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.OneDeviceStrategy(names[0])
    )
    with strategy.scope():
        augmentations = augment.Augmentations([augment.ColorDistortion()])
        encoder = models.ResNet(18, WIDTH.value, stem="cifar")
        model = models.SimCLR(encoder, models.ProjectionHead(), augmentations)
        model.compile(optimizers.LARS(0.1, weight_decay=1e-6))

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        views = tf.random.stateless_uniform([own * len(names), 2, SIDE, SIDE, 3], [0, 0], 0, 256, tf.int32)
        return tf.data.Dataset.from_tensors({"views": tf.cast(views, tf.uint8)}).repeat()

    train = model.make_train_function()
    iterator = iter(distributed_batches(strategy, batches_from, 0, own * len(names)))

    def turn() -> None:
        for _ in range(STEPS.value):
            figures = train(iterator)
        tf.nest.map_structure(lambda value: value.numpy(), figures)

    return turn


if __name__ == "__main__":
    app.run(main)
