"""The line that a run ends with."""

from __future__ import annotations

import pytest

from tests.small_runs import Make
from tf_simclr.evaluate import COMMAND
from tf_simclr.protocols import results
from tf_simclr.runs import lock
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.fit import Speed


@pytest.mark.parametrize(("balanced", "said"), [(50.0, " (balanced 50.00 %)"), (89.0, "")])
def test_balanced_accuracy_stands_beside_top1_where_they_differ_by_much(
    balanced: float, said: str, tiny: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.open(tiny("evaluate"), COMMAND)
    results.conclude(run, 1, Speed(1.0, 1.0), top1=90.0, mean_per_class=balanced, num_eval_examples=10)
    assert f"top-1 90.00 %{said} on 10 images" in capsys.readouterr().out


def test_a_concluded_run_is_free_for_another_process(tiny: Make) -> None:
    run = RunFolder.open(tiny("evaluate"), COMMAND)
    assert (run.path / lock.NAME).exists()
    results.conclude(run, 1, Speed(1.0, 1.0), top1=90.0, mean_per_class=90.0, num_eval_examples=10)
    assert not (run.path / lock.NAME).exists()
