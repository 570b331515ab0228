"""Columns of the terminal's tables are as wide as what stands in them."""

from __future__ import annotations

import numpy as np

from tf_simclr import label_efficiency, transfer
from tf_simclr.reports import terminal


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    long = "folder:/a/path/that/is/longer/than/any/fixed/width"
    shown = terminal.table(["data set", "test %"], [["digits", "9.5"], [long, "100.00"]])
    assert shown.splitlines() == [
        f"{'data set':<{len(long)}}  test %",
        f"{'digits':<{len(long)}}     9.5",
        f"{long}  100.00",
    ]


def test_no_two_columns_of_transfer_touch() -> None:
    name = "folder:/a/path/that/is/longer/than/any/fixed/width"
    figures = {"validation": 1.0, "num_train": 1, "num_eval_examples": 1, "top1": 1.0, "top5": None}
    paper = {"paper_1x": None, "paper_4x": 90.6}
    row = transfer.Row(name, "test", "mean_per_class", 50.0, l2=1e-6, converged=False, **figures, **paper)
    table = transfer._table([row]).splitlines()
    assert table[1].split() == [name, "mean_per_class", "50.00*", "1e-06", "-", "90.6"]
    assert table[0].index("metric") == table[1].index("mean_per_class")
    assert table[2].startswith("* L-BFGS did not converge")


def test_label_efficiencys_columns_end_where_their_headings_do() -> None:
    rows = [
        label_efficiency.few_labels.LabelEfficiency(
            "a name that is rather long", number, np.array([99.96, 50])
        )
        for number in (1, None)
    ]
    _, head, line = label_efficiency._table(rows).splitlines()
    assert line == "a name that is rather long  75.0 ± 35.3  75.0 ± 35.3"
    assert len(head) == len(line)
    assert head.split() == ["labels", "a", "class", "1", "all"]
