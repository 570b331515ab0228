"""The limit of what is measured, by roofline (Williams, Waterman & Patterson, 2009).

Work takes at least its arithmetic at the rate of a large matrix product, and at least its memory traffic at
the rate of a long addition. Both rates take their turns beside the work, so that its share of the limit is a
ratio of one run and needs no data sheet.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from benchmarks.contest import Claim, Contest, take_turns

LIMIT = "limit by roofline"
_PRODUCTS, _SUMS = "matrix products", "sums"
Seconds = dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Work:
    """What one turn of the work does: operations (a multiplication and an addition are two), and bytes."""

    flop: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Probes of a device.

    Attributes:
        dtype: of the products.
        side: of their square matrices.
        numbers: float32, that are added to as many others; more than any cache holds.
        repeats: of either, a turn.
    """

    dtype: str
    side: int
    numbers: int = 2**26
    repeats: int = 4

    @classmethod
    def of_device(cls, device: str, dtype: str) -> Roofline:
        """Large enough to fill a device, "GPU" or "CPU"."""
        return cls(dtype, side=8192, repeats=16) if device == "GPU" else cls(dtype, side=1536)

    def turns(self) -> dict[str, Callable[[], Any]]:
        matrix = tf.random.stateless_uniform([self.side, self.side], [0, 0], maxval=2 / self.side)
        matrix = tf.cast(matrix, self.dtype)  # rows add up to about 1, and products stay as large
        total, summand = tf.Variable(tf.zeros([self.numbers])), tf.ones([self.numbers])

        @tf.function
        def products(matrix: tf.Tensor) -> tf.Tensor:
            product = matrix
            for _ in range(self.repeats):
                product = tf.matmul(product, matrix)
            return product[0, 0]

        @tf.function
        def sums(summand: tf.Tensor) -> tf.Tensor:
            for _ in range(self.repeats):
                total.assign_add(summand)
            return total[0]

        return {_PRODUCTS: lambda: products(matrix).numpy(), _SUMS: lambda: sums(summand).numpy()}

    def work(self) -> Work:
        """Of a turn of either probe: a sum reads two numbers and writes one."""
        return Work(self.repeats * 2.0 * self.side**3, self.repeats * 3.0 * 4 * self.numbers)

    def limit(self, seconds: Mapping[str, Sequence[float]], work: Work) -> list[float]:
        """Least seconds that the work can take, by the rates of each round."""
        own = self.work()
        pairs = zip(seconds[_PRODUCTS], seconds[_SUMS], strict=True)
        return [max(work.flop / own.flop * one, work.bytes / own.bytes * other) for one, other in pairs]

    def rates(self, seconds: Mapping[str, Sequence[float]], work: Work) -> dict[str, Any]:
        """Medians of both rates, and which of them bounds the work."""
        own = self.work()
        flops = own.flop / statistics.median(seconds[_PRODUCTS])
        traffic = own.bytes / statistics.median(seconds[_SUMS])
        bound = "arithmetic" if work.flop / flops >= work.bytes / traffic else "memory"
        return {"dtype": self.dtype, "flop_a_second": flops, "bytes_a_second": traffic, "bound_by": bound}


def contest(
    subject: str,
    turns: Mapping[str, Any],
    work: Work,
    roofline: Roofline,
    *,
    amount: float,
    unit: str,
    claims: Sequence[Claim],
    of_limit: Sequence[str],
) -> tuple[Contest, dict[str, Any]]:
    """A contest with the limit as one more contestant, a claim for each name in `of_limit`, and `rates`."""
    seconds = take_turns({**turns, **roofline.turns()})
    shown = {name: seconds[name] for name in turns}
    shown[LIMIT] = roofline.limit(seconds, work)
    shares = [Claim(name, LIMIT) for name in of_limit]
    return Contest(subject, shown, amount, unit, [*claims, *shares]), roofline.rates(seconds, work)


def text(rates: Mapping[str, Any]) -> str:
    return (
        f"  roofline: {rates['flop_a_second'] / 1e12:.3g} TFLOP/s in {rates['dtype']}, "
        f"{rates['bytes_a_second'] / 1e9:.3g} GB/s; bound by {rates['bound_by']}"
    )
