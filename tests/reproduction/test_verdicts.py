"""Claims judged over seeds, and agreement with the paper's ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from tf_simclr.errors import UsageError
from tf_simclr.reproduction import verdicts
from tf_simclr.reproduction.tables import Claim, Table

SEEDS = (0, 1, 2)


def figures(**rows: list[float]) -> dict[str, dict[int, float]]:
    return {name: dict(zip(SEEDS, values, strict=False)) for name, values in rows.items()}


def judged(own: dict[str, dict[int, float]], *comparisons: str) -> verdicts.Verdict:
    table = Table("tab", Path("tab"), "A test", (), (Claim("a claim", comparisons),), "none", (), "")
    return verdicts.judge(table, own)[0]


def test_a_clear_difference_holds_and_its_reverse_does_not() -> None:
    own = figures(a=[50.0, 51.0, 50.4], b=[40.2, 41.0, 40.3])
    assert judged(own, "a > b").verdict == verdicts.HOLDS
    assert judged(own, "b > a").verdict == verdicts.FAILS
    assert judged(own, "a > b", "b > a").verdict == verdicts.FAILS, (
        "a claim is as good as its worst comparison"
    )


def test_a_difference_as_large_as_the_seeds_is_within_noise() -> None:
    own = figures(a=[50.0, 44.0, 52.0], b=[47.0, 48.0, 49.0])
    assert judged(own, "a > b").verdict == judged(own, "b > a").verdict == verdicts.NOISE


def test_what_a_seed_adds_to_all_rows_is_no_noise() -> None:
    own = figures(a=[51.0, 61.1, 71.0], b=[50.0, 60.0, 70.1])
    assert judged(own, "a > b").verdict == verdicts.HOLDS


def test_one_seed_is_not_judged_and_a_row_without_figures_neither() -> None:
    assert judged(figures(a=[50.0], b=[40.0]), "a > b").verdict == verdicts.OPEN
    assert judged(figures(a=[50.0, 51.0], b=[]), "a > b").verdict == verdicts.OPEN
    own = figures(a=[50.0, 51.0, 50.4], b=[40.2, 41.0, 40.3], c=[])
    assert judged(own, "b > a", "a > c").verdict == verdicts.FAILS
    assert judged(own, "a > b", "a > c").verdict == verdicts.OPEN


def test_sums_of_rows_and_numbers_are_compared() -> None:
    own = figures(a=[50.0, 51.0, 50.0], b=[40.0, 41.1, 40.0], c=[45.0, 46.0, 45.1], d=[44.0, 45.1, 44.0])
    (one,) = judged(own, "a - b > c - d + 5").comparisons
    expected = np.mean([own["a"][s] - own["b"][s] - own["c"][s] + own["d"][s] - 5 for s in SEEDS])
    assert one.difference == pytest.approx(expected)
    assert one.verdict == verdicts.HOLDS
    assert judged(own, "a > b + 20").verdict == verdicts.FAILS


def test_the_error_of_two_rows_is_that_of_the_paired_t_test() -> None:
    """With two rows the analysis of variance is the paired test: scipy's is the oracle."""
    own = figures(a=[50.0, 51.5, 49.0], b=[47.0, 49.0, 47.5])
    (one,) = judged(own, "a > b").comparisons
    oracle = scipy.stats.ttest_rel(list(own["a"].values()), list(own["b"].values()), alternative="greater")
    assert one.difference / one.error == pytest.approx(oracle.statistic)
    assert (one.verdict == verdicts.HOLDS) == (oracle.pvalue < verdicts.LEVEL)


def test_rows_with_fewer_seeds_count_with_those_they_have() -> None:
    own = figures(a=[50.0, 51.0, 50.5], b=[40.0, 41.0], c=[30.0, 30.9, 30.4])
    (one,) = judged(own, "a > b").comparisons
    assert one.difference == pytest.approx(10.0)
    assert one.verdict == verdicts.HOLDS


@pytest.mark.parametrize("text", ["a < b", "a > z", "a", "a > b > a", "a > b * 2", "2 > 1"])
def test_what_is_no_comparison_of_rows_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"tab/claims\.json"):
        judged(figures(a=[1.0], b=[2.0]), text)


def test_agreement_is_spearmans() -> None:
    found = verdicts.agreement([50.0, 40.0, 45.0, 30.0], [64.0, 58.0, 57.0, 50.0])
    assert found is not None
    assert found.correlation == pytest.approx(0.8)  # one of six pairs is swapped: 1 - 6 * 2 / (4 * 15)
    assert found.rows == 4
    assert verdicts.agreement([1.0, 2.0], [1.0, 2.0]) is None
    assert verdicts.agreement([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
