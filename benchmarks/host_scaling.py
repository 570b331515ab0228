"""The input pipeline on 1, 2, ... cores of this machine: views/s and the efficiency of each number.

    python -m benchmarks.host_scaling --images=FOLDER [--cores=1,2,4]

Two views of each image, from JPEG and, with --cache_dataset, from decoded pixels. Before a turn all threads
of the process are bound to the cores, and a new pipeline begins, which has a thread for each of them.
Efficiency of n cores is the rate over n times that of one. Linux only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from absl import app, flags

from benchmarks.contest import Claim, Contest, Turn, batches_turn, publish, take_turns
from benchmarks.input_pipeline import COUNT, IMAGES, draw_pictures, in_memory
from tf_simclr import data

CORES = flags.DEFINE_list("cores", [], "how many, beside 1; empty: powers of 2 up to all")
SIZE = flags.DEFINE_integer("image_size", 224, "side of the views, in pixels", lower_bound=8)
BATCH = 64


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or (IMAGES.value and not Path(IMAGES.value).is_dir()):
        raise app.UsageError(f"--images={IMAGES.value}: give a folder of JPEG photographs")
    if not hasattr(os, "sched_setaffinity"):
        raise app.UsageError("benchmarks.host_scaling binds threads to cores as Linux alone can")
    cores = sorted(os.sched_getaffinity(0))
    counts = counts_of(len(cores))
    with TemporaryDirectory() as folder:
        if not IMAGES.value:
            draw_pictures(folder)
        source = in_memory(data.open_source(f"folder:{IMAGES.value or folder}", "train"))
    kinds = {"from JPEG": source, "--cache_dataset": data.cached(source, SIZE.value)}
    contests = [contest(kind, one, cores, counts) for kind, one in kinds.items()]
    shares = {kind: efficiency(one, counts) for kind, one in zip(kinds, contests, strict=True)}
    publish("host_scaling", *contests, efficiency=shares)
    for kind, by_count in shares.items():
        print(
            "\n".join(
                f"  efficiency {kind}, {title(count)}: {share:.2f}" for count, share in by_count.items()
            )
        )


def counts_of(most: int) -> list[int]:
    """1 and the numbers of cores asked for, ascending; UsageError where one is none, or there are fewer."""
    asked = CORES.value or [*(str(2**power) for power in range(most.bit_length())), str(most)]
    if any(not one.isdecimal() or not 1 <= int(one) <= most for one in asked):
        raise app.UsageError(f"--cores={','.join(asked)}: give numbers from 1 to {most}")
    return sorted({1, *map(int, asked)})


def title(count: int) -> str:
    return f"{count} core" + "s" * (count > 1)


def contest(kind: str, source: data.Source, cores: list[int], counts: list[int]) -> Contest:
    batches = data.pretraining_batches(source, data.Sampling(SIZE.value, BATCH, seed=0), num_uniforms=8)
    steps = -(-COUNT.value // BATCH)
    turns = {title(count): bound(batches_turn(batches, steps), cores[:count]) for count in counts}
    try:
        seconds = take_turns(turns)
    finally:
        bind(cores)
    claims = [Claim(title(count), title(1)) for count in counts[1:]]
    return Contest(f"two {SIZE.value} px views {kind}, by cores", seconds, 2 * steps * BATCH, "views", claims)


def efficiency(contest: Contest, counts: list[int]) -> dict[int, float]:
    return {count: contest.ratio(Claim(title(count), title(1))) / count for count in counts}


def bound(turn: Turn, cores: list[int]) -> Turn:
    """The turn on these cores alone; what it prepares makes its threads there."""

    def prepare() -> Iterator[Any]:
        bind(cores)
        return turn.prepare()

    return Turn(prepare, turn.run)


def bind(cores: list[int]) -> None:
    """All threads that the process has; new ones go where the thread is that makes them."""
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it has ended
            continue


if __name__ == "__main__":
    app.run(main)
