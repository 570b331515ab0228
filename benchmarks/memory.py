"""Peak memory of the loss in blocks and of the train step in micro-batches, beside the plain ones.

`doctor --sizes` reckons objectives by the cases of theirs.

`python -m benchmarks.memory` runs every case in a process of its own and prints a row each; names of cases
choose among them. The whole similarity matrix of 16,384 images needs 17 GiB, the whole step 13.
"""

from __future__ import annotations

import functools
import inspect
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr import objectives
from tf_simclr.augment import Augmentations, ColorDistortion, GaussianBlur
from tf_simclr.models import ProjectionHead, ResNet, SimCLR
from tf_simclr.objectives import Contrast, nt_xent
from tf_simclr.optimizers import LARS

BLOCK = 512
OBJECTIVES = [
    *((name, kind) for name in ("nt_logistic", "margin_triplet", "triplet") for kind in ("all", "semi_hard")),
    *((name, "all") for name in ("max_margin", "info_nce", "n_pair")),
]


def loss(images: int, block_size: int | None) -> None:
    """NT-Xent of `images` images, d = 128, forward and backward."""
    of(lambda z: nt_xent(z, 0.1, block_size=block_size), images)


def objective(name: str, negatives: str = "all") -> None:
    """Another objective, as `loss`."""
    options = {"temperature": 0.1, "negatives": negatives}
    function = objectives.find(name)
    taken = inspect.signature(function).parameters
    of(functools.partial(function, **{key: value for key, value in options.items() if key in taken}), 4096)


def of(function: Callable[[tf.Tensor], Contrast], images: int) -> None:
    """An objective of the projections of `images` images, forward and backward."""

    @tf.function
    def gradient(z: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = function(z).loss
        return tape.gradient(value, z)

    gradient(tf.random.stateless_normal([2 * images, 128], [0, 0]))


def step(micro_batches: int) -> None:
    """One train step of 4,096 images of 32 px: ResNet-18 at width 0.25, colour distortion, blur, LARS."""
    model = SimCLR(
        ResNet(18, 0.25, stem="cifar"),
        ProjectionHead(),
        Augmentations([ColorDistortion(0.5), GaussianBlur()]),
        block_size=BLOCK,
        micro_batches=micro_batches,
    )
    model.compile(LARS(0.3))
    views = tf.cast(256 * tf.random.stateless_uniform([4096, 2, 32, 32, 3], [0, 0]), tf.uint8)
    model.fit(tf.data.Dataset.from_tensors({"views": views}), verbose=0)


CASES: dict[str, tuple[str, Callable[[], None]]] = {
    "loss_blocks_4096": ("NT-Xent, N = 4,096, blocks of 512", lambda: loss(4096, BLOCK)),
    "loss_whole_4096": ("NT-Xent, N = 4,096, the whole matrix", lambda: loss(4096, None)),
    "loss_blocks_16384": ("NT-Xent, N = 16,384, blocks of 512", lambda: loss(16384, BLOCK)),
    "loss_whole_16384": ("NT-Xent, N = 16,384, the whole matrix", lambda: loss(16384, None)),
    **{
        f"{name}_{negatives}_4096": (
            f"{name}, {negatives}, N = 4,096",
            functools.partial(objective, name, negatives),
        )
        for name, negatives in OBJECTIVES
    },
    "step_micro_batches": ("step of 4,096 images, 8 micro-batches", lambda: step(8)),
    "step_whole": ("step of 4,096 images at once", lambda: step(1)),
}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--here"]:
        title, run = CASES[arguments[1]]
        began = time.perf_counter()
        run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{title:<42}{peak:6.1f} GiB{time.perf_counter() - began:8.1f} s", flush=True)
        return
    for name in arguments or CASES:
        command = [sys.executable, "-m", "benchmarks.memory", "--here", name]
        subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


if __name__ == "__main__":
    main(sys.argv[1:])
