"""What the rows say of a claim, judged over seeds, and how they agree with the paper's.

A comparison, "a > b" or "a - b > c - d + 5", is of sums of rows and numbers. Its difference is taken seed by
seed, over the seeds that all its rows have, and averaged. Its error comes from all rows of the table: what is
left of each figure after its row's mean and its seed's (two-way analysis of variance), which is taken to
scatter alike in all rows. It holds, or does not hold, where a one-sided t-test says so at 5 %; else the
difference is within noise. One seed leaves nothing to judge by.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from tf_simclr.errors import UsageError
from tf_simclr.reproduction.tables import Claim, Table

HOLDS, FAILS, NOISE, OPEN = "holds", "does not hold", "within noise", "not judged"
LEVEL = 0.05
Figures = Mapping[str, Mapping[int, float]]
"""row -> seed -> figure."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Left side less right side, `> 0` being claimed: the rows' factors, and a number."""

    text: str
    factors: Mapping[str, float]
    constant: float


@dataclasses.dataclass(frozen=True)
class Judged:
    """A comparison with its mean difference, the standard error of that, and the verdict."""

    text: str
    difference: float | None
    error: float | None
    verdict: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim's: a comparison that does not hold decides, then one that is open, then one within noise."""

    claim: Claim
    comparisons: tuple[Judged, ...]

    @property
    def verdict(self) -> str:
        found = {one.verdict for one in self.comparisons}
        return next(verdict for verdict in (FAILS, OPEN, NOISE, HOLDS) if verdict in found)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of our rows with the paper's, and its p-value."""

    correlation: float
    p_value: float
    rows: int


def parse(text: str, names: Sequence[str], file: str) -> Comparison:
    """Reads a comparison.

    Raises:
        UsageError: it is none, or names no row of the table.
    """
    sides = text.split(" > ")
    if len(sides) != 2 or not all(re.fullmatch(r"\S+( [+-] \S+)*", side) for side in sides):
        raise UsageError(f"{file}: {text!r} is no comparison; give one as 'a > b'")
    factors: dict[str, float] = {}
    constant = 0.0
    for side, sign in zip(sides, (1.0, -1.0), strict=True):
        for operator, term in re.findall(r"(^|[+-] )(\S+)", side):
            factor = sign * (-1.0 if operator.startswith("-") else 1.0)
            if term in names:
                factors[term] = factors.get(term, 0.0) + factor
            elif re.fullmatch(r"\d+(\.\d+)?", term):
                constant += factor * float(term)
            else:
                raise UsageError(f"{file}: {text!r} names {term!r}, which is no row of the table")
    if not factors:
        raise UsageError(f"{file}: {text!r} names no row of the table")
    return Comparison(text, factors, constant)


def require_readable(tables: Sequence[Table]) -> None:
    """UsageError where a comparison of a claim cannot be read."""
    for table in tables:
        judge(table, {row.name: {} for row in table.rows})


def judge(table: Table, figures: Figures) -> list[Verdict]:
    """The verdict of each claim."""
    spread, freedom = _spread(figures)
    names, file = list(figures), str(table.folder / "claims.json")
    return [
        Verdict(
            claim,
            tuple(_judged(parse(text, names, file), figures, spread, freedom) for text in claim.comparisons),
        )
        for claim in table.claims
    ]


def _judged(comparison: Comparison, figures: Figures, spread: float, freedom: int) -> Judged:
    seeds = set.intersection(*(set(figures.get(row, {})) for row in comparison.factors))
    if not seeds:
        return Judged(comparison.text, None, None, OPEN)
    differences = [
        comparison.constant + sum(factor * figures[row][seed] for row, factor in comparison.factors.items())
        for seed in seeds
    ]
    difference = float(np.mean(differences))
    if freedom < 1 or len(seeds) < 2:
        return Judged(comparison.text, difference, None, OPEN)
    error = spread * math.sqrt(sum(factor**2 for factor in comparison.factors.values()) / len(seeds))
    critical = scipy.stats.t.ppf(1 - LEVEL, freedom) * error
    verdict = HOLDS if difference > critical else FAILS if difference < -critical else NOISE
    return Judged(comparison.text, difference, error, verdict)


def _spread(figures: Figures) -> tuple[float, int]:
    """Standard deviation of what rows and seeds leave of the figures, and its degrees of freedom."""
    cells = [(row, seed, value) for row, own in figures.items() for seed, value in own.items()]
    rows, seeds = (
        {name: place for place, name in enumerate(dict.fromkeys(part))}
        for part in ((cell[0] for cell in cells), (cell[1] for cell in cells))
    )
    design = np.zeros([len(cells), len(rows) + len(seeds)])
    for place, (row, seed, _) in enumerate(cells):
        design[place, [rows[row], len(rows) + seeds[seed]]] = 1
    values = np.array([value for _, _, value in cells])
    if not len(values):
        return 0.0, 0
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(cells) - int(rank)
    left = float(np.sum((values - design @ fitted) ** 2))
    return (math.sqrt(left / freedom) if freedom else 0.0), freedom


def agreement(ours: Sequence[float], papers: Sequence[float]) -> Agreement | None:
    """None where fewer than three rows have both figures, or all have the same."""
    if len(ours) < 3 or len(set(ours)) < 2 or len(set(papers)) < 2:
        return None
    found = scipy.stats.spearmanr(ours, papers)
    return Agreement(float(found.statistic), float(found.pvalue), len(ours))
