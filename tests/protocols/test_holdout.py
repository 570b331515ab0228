"""A folder of classes from pretraining to every evaluation, by the images that --holdout takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import Make, folder_of, result_of, write_images
from tf_simclr import embed, evaluate, finetune, knn, label_efficiency, linear_eval, pretrain, transfer


@pytest.mark.slow
def test_what_is_held_out_of_a_pretraining_is_what_all_else_is_tested_on(
    tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "images", {"": 20})
    options = {"dataset": f"folder:{tmp_path / 'images'}", "train_steps": 2, "train_batch_size": 8}
    config = tiny(**options, probe_epochs=1)
    pretrain.pretrain(config)
    held_out = (folder_of(config) / "holdout_ids.txt").read_text()
    assert held_out.count("\n") == 8
    options = {**options, "checkpoint": config.run.model_dir, "optimizer": "nesterov"}
    for command in (finetune.finetune, linear_eval.linear_eval, knn.knn, transfer.transfer):
        for seed in (0, 1):
            config = tiny(command.__name__, **options, seed=seed)
            command(config)
            assert (folder_of(config) / "holdout_ids.txt").read_text() == held_out
            with np.load(folder_of(config) / "predictions.npz") as stored:
                assert sorted(stored["id"].tolist()) == held_out.split()
    tuned = tiny("finetune", **options, seeds="1,2")
    finetune.finetune(tuned)
    assert (folder_of(tuned) / "holdout_ids.txt").read_text() == held_out
    trained = tiny("finetune", **options)
    finetune.finetune(trained)
    capsys.readouterr()
    for share, split, warned in ((0.2, "", False), (0.2, "train+test", True), (0.5, "", True)):
        checkpoint = {"checkpoint": trained.run.model_dir, "holdout": share, "eval_split": split}
        evaluate.evaluate(tiny("evaluate", **{**options, **checkpoint}))
        assert ("warning: the classifier was trained on" in capsys.readouterr().out) == warned
    for share in (0.2, 0.5):
        knn.knn(tiny("knn", **options, holdout=share))
        assert ("its encoder may have seen the tested ones" in capsys.readouterr().out) == (share == 0.5)
    embedded = tiny("embed", **options)
    embed.embed(embedded)
    assert [row["images"] for row in result_of(embedded)["embeddings"]] == [32, 8]
    label_efficiency.label_efficiency(
        tiny("label_efficiency", **options, draws_labels_per_class="1,all", num_scratch_draws=1)
    )
