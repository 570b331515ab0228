"""Error bars over seeds and paired tests against another run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import Make, folder_of, result_of
from tf_simclr import finetune, knn, runs
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.protocols import repeats


@pytest.fixture(scope="session")
def seeded(evaluating: Make) -> Config:
    config = evaluating("finetune", seeds="3,4", labels_per_class=2, train_batch_size=20, train_steps=2)
    finetune.finetune(config)
    return config


@pytest.mark.slow
def test_seeds_give_mean_and_deviation(seeded: Config) -> None:
    result = result_of(seeded)
    runs = [json.loads((folder_of(seeded) / f"seed_{s}" / "result.json").read_text()) for s in (3, 4)]
    assert result["per_seed"] == [run["top1"] for run in runs]
    assert [run["seed"] for run in runs] == result["seeds"] == [3, 4]
    assert result["top1"] == pytest.approx(np.mean(result["per_seed"]))
    assert result["top1_std"] == pytest.approx(np.std(result["per_seed"], ddof=1))
    chosen = [(folder_of(seeded) / f"seed_{s}" / "labelled_ids.txt").read_text() for s in (3, 4)]
    assert chosen[0] != chosen[1]
    assert (folder_of(seeded) / "report.html").exists()


def test_the_weights_of_a_seed_are_in_its_own_run(seeded: Config) -> None:
    with pytest.raises(UsageError, match=r"no checkpoint; give the run of one of its seeds, .*seed_3"):
        runs.load_run(seeded.run.model_dir)
    assert runs.load_run(f"{seeded.run.model_dir}/seed_4").classifier is not None


@pytest.mark.slow
def test_compare_with_stores_both_tests_for_each_seed(
    evaluating: Make, seeded: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = evaluating(
        "finetune",
        checkpoint="",
        seeds="3,4",
        labels_per_class=2,
        train_batch_size=20,
        train_steps=1,
        compare_with=seeded.run.model_dir,
    )
    finetune.finetune(config)
    comparisons = result_of(config)["comparisons"]
    assert [Path(found["with"]).name for found in comparisons] == ["seed_3", "seed_4"]
    for found, top1 in zip(comparisons, result_of(config)["per_seed"], strict=True):
        assert found["accuracy_a"] == pytest.approx(top1)
        assert found["p_permutation"] == pytest.approx(found["p_mcnemar"], abs=0.01)
    assert "McNemar p =" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_compared_with_itself_does_not_differ(evaluating: Make) -> None:
    config = evaluating("knn")
    knn.knn(config)
    knn.knn(config.replace(compare_with=config.run.model_dir))
    comparison = result_of(config)["comparison"]
    assert (comparison["p_permutation"], comparison["p_mcnemar"]) == (1.0, 1.0)


def test_figures_over_seeds() -> None:
    results = [{"top1": 10.0, "top5": None, "mean_per_class": 20.0}, {"top1": 14.0, "top5": 1.0}]
    found = repeats._spread(results)
    assert found == {"top1": 12.0, "top1_std": pytest.approx(8**0.5), "per_seed": [10.0, 14.0]}
    assert repeats._spread(results[:1])["top1_std"] is None
    assert repeats._spread(results[:1])["mean_per_class"] == 20.0
