"""NT-Xent, forward and backward, d = 128: in blocks, beside the textbook's full matrices and a bare product.

    python -m benchmarks.nt_xent [--device=cpu]

Memory, on CPUs alone, is what the peak of a fresh process rises by while it computes the loss once. The limit
is matrix products of the same arithmetic: one for the similarities, two for their gradients.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import app, flags

from benchmarks import device, textbook
from benchmarks.contest import Claim, Contest, publish, take_turns
from tf_simclr.objectives import nt_xent

IMAGES = flags.DEFINE_integer("images", 4096, "N, images of a batch", lower_bound=2)
LARGE = flags.DEFINE_integer("large", 16_384, "N that only has to run", lower_bound=2)
BLOCK = flags.DEFINE_integer("block_size", 512, "rows of the similarity matrix held at a time", lower_bound=1)
MEASURE = flags.DEFINE_string("measure", "", "contestant whose memory this process measures; internal")
DIM = 128

Turn = Callable[[], Any]


def contestants(images: int) -> dict[str, Turn]:
    """Each gives the gradient by z [2N, d]; compiled functions of fixed shape."""
    z = tf.random.stateless_normal([2 * images, DIM], [0, 0])

    def gradient_of(loss: Callable[[tf.Tensor], tf.Tensor]) -> Turn:
        @tf.function
        def gradient(z: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(z)
            return tape.gradient(value, z)

        return lambda: gradient(z).numpy()

    @tf.function
    def products(z: tf.Tensor) -> tf.Tensor:
        similarities = tf.matmul(z, z, transpose_b=True)
        return tf.matmul(similarities, z) + tf.matmul(similarities, z, transpose_a=True)

    return {
        "textbook": gradient_of(textbook.nt_xent),
        "ours, whole matrix": gradient_of(lambda z: nt_xent(z, textbook.TEMPERATURE).loss),
        "ours, in blocks": gradient_of(
            lambda z: nt_xent(z, textbook.TEMPERATURE, block_size=BLOCK.value).loss
        ),
        "limit: three matrix products": lambda: products(z).numpy(),
    }


def extra_mib(name: str, images: int) -> float:
    """Peak memory of a fresh process over what it had before, in MiB."""
    flags_ = ["--device=cpu", f"--measure={name}", f"--images={images}", f"--block_size={BLOCK.value}"]
    command = [sys.executable, "-m", "benchmarks.nt_xent", *flags_]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str) -> None:
    """Prints by how many MiB this process's peak rises; the same at a small N first, to load everything."""
    contestants(64)[name]()
    turn = contestants(IMAGES.value)[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    turn()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    device.choose()
    if MEASURE.value:
        return measure(MEASURE.value)
    names = ["textbook", "ours, whole matrix", "ours, in blocks"]
    # First, since a process starts with the peak of the one that started it.
    memory = {name: extra_mib(name, IMAGES.value) for name in names}
    large = extra_mib("ours, in blocks", LARGE.value)
    contest = Contest(
        f"NT-Xent, forward and backward, N = {IMAGES.value:,}, d = {DIM}",
        take_turns(contestants(IMAGES.value)),
        amount=1,
        unit="losses",
        claims=[
            Claim("ours, in blocks", "textbook", 1.3),
            Claim("ours, in blocks", "limit: three matrix products"),
        ],
    )
    publish("nt_xent", contest, extra_mib=memory, large={"images": LARGE.value, "extra_mib": large})
    for name, mib in memory.items():
        print(f"  {name}: {mib:,.0f} MiB more")
    share = memory["textbook"] / memory["ours, in blocks"]
    print(f"  textbook / ours, in blocks: {share:.1f} times the memory{Claim('', '', 5.0).verdict(share)}")
    print(f"  ours, in blocks, N = {LARGE.value:,}: {large:,.0f} MiB more")


if __name__ == "__main__":
    app.run(main)
