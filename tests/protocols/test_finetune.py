"""Fine-tuning: what it selects by, the sweep, and what follows from the number of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, folder_of, result_of, rows_of
from tf_simclr import data, finetune, inputs, runs, training
from tf_simclr.config import Config
from tf_simclr.devices import strategies
from tf_simclr.errors import UsageError
from tf_simclr.runs import prefixes
from tf_simclr.training import selection


def test_selecting_on_validation_keeps_the_best_checkpoint(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([20.0, 50.0, 50.0])  # of equals the earlier one
    monkeypatch.setattr(selection, "accuracy", lambda *_: next(figures))
    config = evaluating(
        "finetune", select_on_validation=True, label_fraction=0.2, train_steps=9, learning_rate=3.0
    )
    finetune.finetune(config)
    rows = rows_of(folder_of(config) / "validation.csv")
    assert [int(row["step"]) for row in rows] == [3, 6, 9]
    result = result_of(config)
    assert (result["selected_step"], result["validation_top1"]) == (6, 50.0)
    kept = Path(prefixes.find(config.run.model_dir))
    assert kept.name == "ckpt-9"
    reader = tf.train.load_checkpoint
    selected = reader(str(folder_of(config) / "best" / "ckpt-6"))
    name = "model/classifier/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_array_equal(reader(str(kept)).get_tensor(name), selected.get_tensor(name))
    ids, held = (
        set((folder_of(config) / f"{name}_ids.txt").read_text().split())
        for name in ("labelled", "validation")
    )
    assert len(ids | held) == len(ids) + len(held) == result["num_labels"] == round(0.2 * 1437)


@pytest.mark.slow
def test_a_sweep_chooses_on_validation_and_tests_once(
    evaluating: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evaluating(
        "finetune",
        sweep=True,
        sweep_learning_rates="1e25,0.5",
        sweep_weight_decays="0,1e-3",
        learning_rate_scaling="none",
        label_fraction=0.2,
        train_steps=4,
    )
    finetune.finetune(config)
    result = result_of(config)
    assert [(row["learning_rate"], row["weight_decay"]) for row in result["sweep"]] == [
        (1e25, 0.0),
        (1e25, 1e-28),
        (0.5, 0.0),
        (0.5, 0.002),
    ]
    diverged, finite = result["sweep"][:2], result["sweep"][2:]
    assert [row["validation"] for row in diverged] == [None, None]
    assert result["chosen"] == max(finite, key=lambda row: row["validation"])
    assert result["num_labels"] == round(0.2 * 1437)  # retrained on what had been held out too
    drawn = [folder_of(config) / folder / "mistakes.png" for folder in ("chosen", "")]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    assert result["num_eval_examples"] == 360
    assert "validation top1" in capsys.readouterr().out

    trained, fit = [], training.fit
    monkeypatch.setattr(
        training,
        "fit",
        lambda model, batches, steps, run: trained.append(run) or fit(model, batches, steps, run),
    )
    finetune.finetune(config)
    assert [run.path.name for run in trained] == ["chosen"]
    assert result_of(config)["sweep"] == result["sweep"]
    assert runs.load_run(config.run.model_dir).top1 == result["top1"]  # the chosen run stands for it

    for name in ("result.json", "config.json"):  # as if it had been interrupted
        (folder_of(config) / name).unlink()
    with pytest.raises(UsageError, match="other flags: --seed"):
        finetune.finetune(config.replace(seed=1))


def test_batch_norm_follows_the_number_of_steps_an_epoch() -> None:
    config = Config("finetune").replace(transfer_batch_norm=True, train_batch_size=2)
    decays = [finetune._adapted(config, n).encoder.batch_norm_decay for n in (1000, 10)]
    assert decays == [1 - 10 / 500, 0.9]  # App. B.8


def test_a_batch_is_no_larger_than_the_data_unless_asked_for() -> None:
    default = Config("finetune")
    batches = [
        inputs.with_fitting_batch(config, 500).optimization.train_batch_size
        for config in (default, default.replace(train_batch_size=1000))
    ]
    assert batches == [256, 1000]
    assert inputs.with_fitting_batch(default, 5000) == default


@pytest.mark.parametrize("sweep", [False, True])
def test_workers_meet_before_data_are_opened(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, sweep: bool
) -> None:
    class Met(Exception):
        pass

    def meet(config: Config) -> None:
        raise Met

    monkeypatch.setattr(strategies, "set_up", meet)
    monkeypatch.setattr(data, "open_source", None)
    with pytest.raises(Met):
        finetune.finetune(tiny("finetune", sweep=sweep))


def test_selection_without_training_is_a_mistake(evaluating: Make) -> None:
    with pytest.raises(UsageError, match="nothing was trained"):
        finetune.finetune(evaluating("finetune", select_on_validation=True, train_steps=0, train_epochs=0))
