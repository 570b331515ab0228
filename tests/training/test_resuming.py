"""A run that was stopped, killed or damaged ends as one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import flag_definitions, pretrain
from tf_simclr.config import Config
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.training import callbacks, checkpoints

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Config]


def folder_of(config: Config) -> Path:
    return Path(config.run.model_dir)


def weights(run: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(checkpoints.find(str(run)))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("model/")
    }


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


class StopAfter(callbacks.Saver):
    """Acts as if SIGTERM had come in the middle of the second step."""

    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        self.interrupted = step == 2
        super().on_steps(before, step, logs)


def test_an_interrupted_run_goes_on_to_the_same_end(
    tiny: Make, pretrained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAfter)
        with pytest.raises(Interrupted, match="step 2 of 6"):
            pretrain.pretrain(config)
    assert checkpoints.step_of(checkpoints.find(config.run.model_dir)) == 2
    pretrain.pretrain(config)
    assert_same_run(folder_of(config), folder_of(pretrained))


def test_a_damaged_newest_checkpoint_falls_back_to_an_older_one(
    tiny: Make, pretrained: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny()
    pretrain.pretrain(config)
    newest = Path(checkpoints.find(config.run.model_dir) + ".data-00000-of-00001")
    newest.write_bytes(newest.read_bytes()[:1000])
    pretrain.pretrain(config)
    assert "cannot be read, trying an older one" in capsys.readouterr().err
    assert_same_run(folder_of(config), folder_of(pretrained))


def test_a_missing_checkpoint_file_does_not_start_from_zero(tiny: Make, pretrained: Config) -> None:
    config = tiny()
    pretrain.pretrain(config)
    (folder_of(config) / "checkpoints" / "checkpoint").unlink()
    before = weights(folder_of(config))
    pretrain.pretrain(config)
    for name, value in weights(folder_of(config)).items():
        np.testing.assert_array_equal(value, before[name])


def test_other_flags_on_the_same_folder_are_refused(pretrained: Config) -> None:
    with pytest.raises(UsageError, match=r"--temperature=0.7"):
        pretrain.pretrain(pretrained.replace(temperature=0.7))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_good_checkpoint(tiny: Make) -> None:
    config = tiny(optimizer="momentum", learning_rate=1e30, learning_rate_scaling="none", checkpoint_steps=1)
    with pytest.raises(UsageError, match="not finite"):
        pretrain.pretrain(config)
    for value in weights(folder_of(config)).values():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all()


@pytest.mark.slow
def test_sigkill_then_the_same_command_equals_an_undisturbed_run(tiny: Make) -> None:
    """The real command, killed between checkpoints in the middle of an epoch."""
    options: dict[str, Any] = {"train_steps": 300, "checkpoint_steps": 7}
    undisturbed, killed = tiny(**options), tiny(**options)
    for config in (undisturbed, killed):
        flags = flag_definitions.flagfile(pretrain.COMMAND, config)
        (folder_of(config) / "the.cfg").write_text(flags)

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
