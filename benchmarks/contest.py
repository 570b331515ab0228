"""Contestants in turns: medians, spread and ratios of one run, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

ROUNDS = flags.DEFINE_integer("rounds", 5, "rounds; in each, every contestant has a turn", lower_bound=1)
JSON = flags.DEFINE_string("json", "", "file to write the figures to, as JSON")


@dataclasses.dataclass(frozen=True)
class Claim:
    """How many times as fast as `slower` is `faster`; below 1 it is a fraction of a limit.

    With a `factor` it is held against that.
    """

    faster: str
    slower: str
    factor: float | None = None

    def verdict(self, ratio: float) -> str:
        if self.factor is None:
            return ""
        return f" (asked for: {self.factor:g}; {'holds' if ratio >= self.factor else 'FALLS SHORT'})"


@dataclasses.dataclass(frozen=True)
class Contest:
    """What the contestants of one subject did.

    Attributes:
        subject: what was measured, with its sizes.
        seconds: of each round, by contestant.
        amount: how much of `unit` one turn handles; speeds are amount / seconds.
        unit: images, steps, ...
        claims: ratios to show.
    """

    subject: str
    seconds: Mapping[str, Sequence[float]]
    amount: float
    unit: str
    claims: Sequence[Claim]

    def ratio(self, claim: Claim) -> float:
        """How many times as fast: the median over rounds of the two turns of the same round."""
        pairs = zip(self.seconds[claim.faster], self.seconds[claim.slower], strict=True)
        return statistics.median(slower / faster for faster, slower in pairs)

    def table(self) -> str:
        """A line a contestant, with the spread of its rounds, and a line a claim."""
        lines = [f"\n{self.subject}", f"  {'':<34}{self.unit + '/s':>12}{'slowest':>10}{'fastest':>10}"]
        for name, seconds in self.seconds.items():
            speeds = sorted(self.amount / one for one in seconds)
            cells = "".join(f"{_short(speed):>10}" for speed in (speeds[0], speeds[-1]))
            lines.append(f"  {name:<34}{_short(statistics.median(speeds)):>12}{cells}")
        for claim in self.claims:
            ratio = self.ratio(claim)
            lines.append(f"  {claim.faster} / {claim.slower}: {ratio:.2f}{claim.verdict(ratio)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        ratios = [{**dataclasses.asdict(claim), "ratio": self.ratio(claim)} for claim in self.claims]
        return {**dataclasses.asdict(self), "claims": ratios}


@dataclasses.dataclass(frozen=True)
class Turn:
    """What is timed, `run`, on something that `prepare` makes anew outside of the time."""

    prepare: Callable[[], Any]
    run: Callable[[Any], None]


def batches_turn(
    batches: Iterable[Any], count: int, use: Callable[[Iterator[Any]], Any] = next, settle: float = 0.0
) -> Turn:
    """`use` called `count` times on a new iterator that has given its first batch.

    An old iterator would fill its buffer in others' turns; and a new one takes its time for planning, which a
    run pays once.

    Args:
        batches: without end.
        count: batches a turn.
        use: pulls one batch, and does with it what is measured.
        settle: seconds to fill the buffers before the turn, where a batch's use takes longer than its making:
            in the middle of a run, too, as many are made as used.
    """

    def prepare() -> Iterator[Any]:
        iterator = iter(batches)
        next(iterator)
        time.sleep(settle)
        return iterator

    def run(iterator: Iterator[Any]) -> None:
        for _ in range(count):
            use(iterator)

    return Turn(prepare, run)


def take_turns(
    turns: Mapping[str, Turn | Callable[[], Any]], rounds: int | None = None
) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, after a turn each that does not count.

    What a turn was prepared with is thrown away outside of its time too: the end of a tf.data iterator waits
    for its autotuner. Which one begins changes from round to round, so that a drift of the machine meets all
    alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for name in names:
        _timed(turns[name])
    for number in range(rounds or ROUNDS.value):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_timed(turns[name]))
    return seconds


def _timed(turn: Turn | Callable[[], Any]) -> float:
    timed = turn if isinstance(turn, Turn) else Turn(lambda: turn, lambda whole: whole())
    prepared = timed.prepare()
    began = time.perf_counter()
    timed.run(prepared)
    return time.perf_counter() - began


def publish(benchmark: str, *contests: Contest, **extra: Any) -> None:
    """Prints the tables and writes --json; `extra` goes into the JSON beside them."""
    for contest in contests:
        print(contest.table(), flush=True)
    if JSON.value:
        content = {
            "benchmark": benchmark,
            "machine": machine(),
            "contests": [contest.as_json() for contest in contests],
            **extra,
        }
        path = Path(JSON.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What the figures depend on, without names of the place."""
    import tensorflow as tf

    return {
        "cpu_cores": len(os.sched_getaffinity(0)),
        "cpu_features": sorted(cpu_features() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "gpus": [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
                 for gpu in tf.config.list_physical_devices("GPU")],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }  # fmt: skip


def cpu_features() -> set[str]:
    """The flags that Linux reports of the first core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
