"""From an environment to an exported encoder, by the commands' own flags."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from export.saved_model import export_run
from tests.small_runs import assert_same_run, result_of, rows_of
from tf_simclr import pretrain, record, runs, state_probe
from tf_simclr.config import Config, flags

pytest.importorskip("gymnasium", reason="needs gymnasium: pip install -r requirements-control.txt")


def pretraining(frames: Path, folder: Path) -> Config:
    words = [
        f"--dataset=folder:{frames}",
        f"--model_dir={folder}",
        "--method=curl",
        "--encoder=tf_simclr.networks:pixels(dim=6, filters=4, layers=2, side=20)",
        "--image_size=20",
        "--train_batch_size=16",
        "--train_steps=4",
        "--checkpoint_steps=2",
    ]
    return flags.parse(pretrain.COMMAND, words)[1]


@pytest.mark.slow
def test_frames_are_recorded_learned_from_probed_and_exported(tmp_path: Path) -> None:
    frames, run = tmp_path / "frames", tmp_path / "run"
    small = {"environment": "CartPole-v1", "train_episodes": 4, "test_episodes": 2, "frame_size": 24}
    counts = record.record(Config("record").replace(**small, frames_dir=str(frames), start_spread=1.0))
    config = pretraining(frames, run)
    pretrain.pretrain(config)
    assert len(rows_of(run / "metrics.csv")) >= 1
    shutil.copytree(run, tmp_path / "cut")
    for path in (tmp_path / "cut" / "checkpoints").glob("ckpt-4.*"):
        path.unlink()
    pretrain.pretrain(pretraining(frames, tmp_path / "cut"))
    assert_same_run(run, tmp_path / "cut")

    words = [f"--checkpoint={run}", f"--model_dir={tmp_path / 'probe'}"]
    probe = flags.parse(state_probe.COMMAND, words)[1]
    assert probe.data.center_crop_fraction == 0.84  # of the run: the middle of its random shifts
    state_probe.state_probe(probe)
    result = result_of(probe)
    assert (result["num_train_examples"], result["num_eval_examples"]) == (counts["train"], counts["test"])
    assert [row["state"] for row in result["states"]] == ["position", "velocity", "angle", "angular_velocity"]

    loaded = runs.load_run(str(run))
    with mock.patch("export.saved_model._verify"):
        (exported, *_) = export_run(loaded, str(tmp_path / "exports"))
    stacks = tf.random.stateless_uniform([2, 20, 20, 3], [3, 4])
    encoder = tf.saved_model.load(str(exported))
    np.testing.assert_allclose(encoder(stacks), loaded.encoder(stacks), rtol=0, atol=1e-5)
