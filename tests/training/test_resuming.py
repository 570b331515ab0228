"""A run that was stopped, killed or damaged ends as one that was left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import assert_same_run, stopped_at, weights_of
from tf_simclr import finetune, linear_eval, pretrain
from tf_simclr.config import Config, Steps, flags
from tf_simclr.errors import UsageError
from tf_simclr.runs import prefixes
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training import callbacks

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Config]


def folder_of(config: Config) -> Path:
    return Path(config.run.model_dir)


def copy_of(run: Config, other: Config) -> Config:
    """`other`, a run of the same flags, with what `run` left in its folder."""
    shutil.copytree(run.run.model_dir, other.run.model_dir, dirs_exist_ok=True)
    return other


def test_a_signal_during_the_agreement_of_workers_is_not_lost(tmp_path: Path) -> None:
    class Agreement:
        def any_worker(self, flag: bool, at_once: bool) -> bool:
            if not flag:
                saver.signals.note(signal.SIGTERM, None)
            return flag

    steps = Steps(total=9, warmup=0, per_epoch=9, between_checkpoints=9)
    saver = callbacks.Saver(mock.Mock(), 0, steps, Agreement())
    saver.model = mock.Mock()
    saver.on_steps(0, 1, {})
    assert not saver.interrupted
    saver.on_steps(1, 2, {})
    assert saver.interrupted


def test_an_interrupted_run_goes_on_to_the_same_end(
    tiny: Make, pretrained: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny()
    with stopped_at(2, monkeypatch):
        pretrain.pretrain(config)
    assert prefixes.step_of(prefixes.find(config.run.model_dir)) == 2
    earlier = json.loads((folder_of(config) / "timing.json").read_text())["wall_seconds"]
    pretrain.pretrain(config)
    printed = capsys.readouterr().out
    assert "goes on from step 2" in printed
    assert "starts from this run's own checkpoint" in printed
    assert json.loads((folder_of(config) / "result.json").read_text())["wall_seconds"] > earlier > 0
    assert_same_run(folder_of(config), folder_of(pretrained))


@pytest.mark.slow
def test_supervised_training_with_colours_goes_on_to_the_same_end(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"augment": "simclr", "color_jitter_strength": 0.5, "optimizer": "nesterov"}
    whole, config = tiny("finetune", **options), tiny("finetune", **options)
    finetune.finetune(whole)
    with stopped_at(2, monkeypatch):
        finetune.finetune(config)
    finetune.finetune(config)
    assert_same_run(folder_of(config), folder_of(whole))
    plain = tiny("finetune", **{**options, "augment": "crop"})
    finetune.finetune(plain)
    metrics = [(folder_of(run) / "metrics.csv").read_text() for run in (plain, whole)]
    assert metrics[0] != metrics[1]


def test_a_damaged_newest_checkpoint_falls_back_to_an_older_one(
    tiny: Make, pretrained: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = copy_of(pretrained, tiny())
    newest = Path(prefixes.find(config.run.model_dir) + ".data-00000-of-00001")
    newest.write_bytes(newest.read_bytes()[:1000])
    pretrain.pretrain(config)
    assert "cannot be used, trying an older one" in capsys.readouterr().err
    assert_same_run(folder_of(config), folder_of(pretrained))


def test_a_missing_checkpoint_file_does_not_start_from_zero(tiny: Make, pretrained: Config) -> None:
    """Nor does a missing result.json lose the time that training took."""
    config = copy_of(pretrained, tiny())
    (folder_of(config) / "checkpoints" / "checkpoint").unlink()
    (folder_of(config) / "result.json").unlink()
    before = weights_of(folder_of(config))
    pretrain.pretrain(config)
    assert json.loads((folder_of(config) / "result.json").read_text())["wall_seconds"] > 0
    for name, value in weights_of(folder_of(config)).items():
        np.testing.assert_array_equal(value, before[name])


def test_other_flags_on_the_same_folder_are_refused(pretrained: Config) -> None:
    with pytest.raises(UsageError, match=r"--temperature=0.7"):
        pretrain.pretrain(pretrained.replace(temperature=0.7))


def test_a_folder_with_other_flags_is_free_until_work_is_in_it(tiny: Make) -> None:
    config = tiny()
    for other in (config, config.replace(temperature=0.7)):
        RunFolder.open(other, pretrain.COMMAND)
    (folder_of(config) / "features").mkdir()
    RunFolder.open(other, pretrain.COMMAND)
    with pytest.raises(UsageError, match=r"--temperature="):
        RunFolder.open(config, pretrain.COMMAND)


def test_data_that_changed_under_a_run_are_refused(tiny: Make) -> None:
    run = RunFolder.open(tiny(), pretrain.COMMAND)
    source = mock.Mock(
        num_examples=9, num_classes=2, class_names=("a", "b"), version="1.0.0", census=None, held_out=()
    )
    run.write_data(source)
    source.version = "2.0.0"
    run.write_data(source)  # nothing was trained yet
    run.checkpoints.mkdir()
    run.write_data(source)
    source.num_examples = 8
    with pytest.raises(UsageError, match=r"num_examples is 8, was 9.*another --model_dir"):
        run.write_data(source)


def test_a_damaged_json_file_is_named(tiny: Make) -> None:
    run = RunFolder.open(tiny(), pretrain.COMMAND)
    run.write("result.json", '{"top1": 9')
    with pytest.raises(UsageError, match=r"result.json is damaged"):
        run.read_json("result.json")


def test_a_folder_that_cannot_be_reached_is_one_line(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket's errors are TensorFlow's, not the operating system's."""
    error = tf.errors.PermissionDeniedError(None, None, "no\naccess")
    monkeypatch.setattr(RunFolder, "write", mock.Mock(side_effect=error))
    with pytest.raises(UsageError, match=r"--model_dir=.*cannot be written .no access"):
        RunFolder.open(tiny(), pretrain.COMMAND)


def test_a_linear_evaluation_does_not_go_on_with_another_encoder(tiny: Make, pretrained: Config) -> None:
    copy = copy_of(pretrained, tiny())
    options = {"checkpoint": copy.run.model_dir, "optimizer": "nesterov", "weight_decay": 0.0}
    config = tiny("linear_eval", train_steps=1, **options)
    linear_eval.linear_eval(config)
    newest = prefixes.find(copy.run.model_dir)
    for path in Path(newest).parent.glob(f"{Path(newest).name}.*"):
        path.unlink()
    with pytest.raises(UsageError, match="holds another encoder than when the run"):
        linear_eval.linear_eval(config)


@pytest.mark.slow
def test_lamb_goes_on_where_it_stopped(tiny: Make) -> None:
    """TensorFlow Addons' optimizer of the old kind, which makes its variables at the first step."""
    pytest.importorskip("tensorflow_addons")
    config = tiny(optimizer="lamb", train_steps=3, checkpoint_steps=2)
    pretrain.pretrain(config)
    before = weights_of(folder_of(config))
    for path in (folder_of(config) / "checkpoints").glob("ckpt-3.*"):
        path.unlink()
    pretrain.pretrain(config)
    for name, value in weights_of(folder_of(config)).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.slow
def test_sigkill_then_the_same_command_equals_an_undisturbed_run(tiny: Make) -> None:
    """The real command, killed between checkpoints in the middle of an epoch."""
    options: dict[str, Any] = {"train_steps": 300, "checkpoint_steps": 7}
    undisturbed, killed = tiny(**options), tiny(**options)
    for config in (undisturbed, killed):
        text = flags.flagfile(pretrain.COMMAND, config)
        (folder_of(config) / "the.cfg").write_text(text)

    def start(config: Config) -> subprocess.Popen[bytes]:
        arguments = [f"--flagfile={folder_of(config) / 'the.cfg'}", f"--model_dir={config.run.model_dir}"]
        return subprocess.Popen([sys.executable, "-m", "tf_simclr.pretrain", *arguments], cwd=ROOT)

    process = start(killed)
    while not list((folder_of(killed) / "checkpoints").glob("ckpt-*.index")):
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder_of(killed) / "result.json").exists()
    assert start(killed).wait() == 0
    assert start(undisturbed).wait() == 0
    assert_same_run(folder_of(killed), folder_of(undisturbed))
