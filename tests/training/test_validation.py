"""--validate_epochs: a held-out split beside the training, which it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, folder_of, rows_of
from tf_simclr import inputs, pretrain
from tf_simclr.config import Config, Steps
from tf_simclr.errors import UsageError
from tf_simclr.runs import build
from tf_simclr.training import validation

FIGURES = ["contrastive_loss", "contrastive_accuracy", "contrastive_entropy"]


@pytest.fixture(scope="module")
def validated(tiny: Make) -> Config:
    """Two epochs and two steps."""
    config = tiny(validate_epochs=1, train_batch_size=180, train_steps=16)
    pretrain.pretrain(config)
    return config


def test_it_is_written_every_few_epochs_and_at_the_end(validated: Config) -> None:
    rows = rows_of(folder_of(validated) / validation.NAME)
    assert [int(row["step"]) for row in rows] == [7, 14, 16]
    assert list(rows[0]) == ["step", *FIGURES]
    assert len({row["contrastive_loss"] for row in rows}) == 3


def test_it_stands_beside_the_training_in_report_and_tensorboard(validated: Config) -> None:
    report = (folder_of(validated) / "report.html").read_text()
    assert "dashed: held-out images, from held_out.csv" in report
    (events,) = (folder_of(validated) / "logs" / "validation").iterdir()
    found = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    rows = rows_of(folder_of(validated) / validation.NAME)
    assert found == {
        (int(row["step"]), name): pytest.approx(float(row[name]), rel=1e-5)
        for row in rows
        for name in FIGURES
    }


def test_the_figures_are_those_of_whole_batches_of_the_trainings_size(validated: Config) -> None:
    """Computed anew: the first two batches of 180 that a training on the test split would have."""
    source = inputs.eval_source(validated)
    model = build.pretraining(validated, source.num_classes, validated.steps(1437))
    prefix = folder_of(validated) / "checkpoints" / "ckpt-16"
    tf.train.Checkpoint(model=model).restore(str(prefix)).expect_partial()
    batches = inputs.pretraining_batches(validated, source, model.augmentations.num_uniforms)(0)
    assert source.num_examples // 180 == 2
    found = model.evaluate(batches.take(2), return_dict=True, verbose=0)
    last = rows_of(folder_of(validated) / validation.NAME)[-1]
    for name in FIGURES:
        assert float(last[name]) == pytest.approx(found[name], rel=1e-5), name


@pytest.mark.slow
def test_nothing_of_the_training_moves_and_an_interrupted_run_ends_the_same(
    tiny: Make, validated: Config
) -> None:
    alone = tiny(train_batch_size=180, train_steps=16)
    pretrain.pretrain(alone)
    cut = validated.replace(model_dir=str(folder_of(validated)) + "_cut")
    shutil.copytree(folder_of(validated), folder_of(cut))
    for path in (folder_of(cut) / "checkpoints").glob("ckpt-1[56].*"):
        path.unlink()
    pretrain.pretrain(cut)
    for other, names in ((alone, ["metrics.csv"]), (cut, ["metrics.csv", validation.NAME])):
        for name in names:
            assert (folder_of(other) / name).read_bytes() == (folder_of(validated) / name).read_bytes()
        ours, theirs = (_variables(folder_of(one)) for one in (validated, other))
        for name, value in ours.items():
            np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def _variables(run: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / "ckpt-16"))
    names = (name for name in reader.get_variable_to_shape_map() if name.startswith("model/"))
    return {name: reader.get_tensor(name) for name in names}


def test_a_momentum_encoder_and_its_queue_stay_where_they_are(tiny: Make, tmp_path: Path) -> None:
    config = tiny(method="moco", queue_size=128, validate_epochs=1, proj_batch_norm="none")
    source = inputs.eval_source(config)
    steps = Steps(total=1, warmup=0, per_epoch=1, between_checkpoints=1)
    model = build.pretraining(config, 0, steps)
    before = [variable.numpy() for part in model.state.values() for variable in part.variables]
    run = mock.Mock(path=tmp_path, logs=tmp_path / "logs", config=config)
    run.checkpoints.parent = tmp_path
    (watcher,) = validation.watchers(config, model, inputs.train_source(config), source, steps, run)(0)
    watcher.model = model
    watcher.on_steps(0, 1, {})
    assert float(rows_of(tmp_path / validation.NAME)[0]["contrastive_loss"]) > 0
    after = [variable.numpy() for part in model.state.values() for variable in part.variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_batch_size": 512}, r"--eval_split=test has 360 images, and a batch 512.*--train_batch_size"),
        ({"eval_split": "train"}, "--eval_split=train: train is trained on"),
        ({"method": "pcl"}, "--method=pcl knows training images alone"),
    ],
)
def test_what_cannot_be_validated_is_refused(tiny: Make, changes: dict[str, Any], words: str) -> None:
    config = tiny(validate_epochs=1).replace(**changes)
    train, held_out = inputs.train_source(config), inputs.optional_eval_source(config)
    rest = (config.steps(train.num_examples), mock.Mock())
    with pytest.raises(UsageError, match=words):
        validation.watchers(config, mock.Mock(), train, held_out, *rest)
    with pytest.raises(UsageError, match="there is no split test or validation; name one by --eval_split"):
        validation.watchers(config, mock.Mock(), train, None, *rest)
