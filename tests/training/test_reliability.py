"""Runs that break, lose checkpoints, fill the disk or are stopped: one line, and the next command goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import TINY, assert_same_run, folder_of, result_of, stopped_at, weights_of
from tf_simclr import cli, finetune, inputs, pretrain
from tf_simclr.config import Config, Steps, flags
from tf_simclr.errors import Diverged, Interrupted, UsageError
from tf_simclr.protocols import from_scratch
from tf_simclr.runs import ledger, lock, prefixes
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training import selection

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Config]
DIVERGING = {
    "optimizer": "momentum",
    "learning_rate": 1e38,
    "learning_rate_scaling": "none",
    "warmup_epochs": 0.1,  # two steps, the first at rate 0
    "checkpoint_steps": 1,
}


def test_a_step_that_breaks_is_named_and_nothing_of_it_is_saved(tiny: Make) -> None:
    """Also where no checkpoint exists yet."""
    before = signal.getsignal(signal.SIGTERM)
    config = tiny(**{**DIVERGING, "checkpoint_steps": 6})
    with pytest.raises(Diverged, match=r"step 2: the (update|gradient).*--learning_rate=1e\+38 is too high"):
        pretrain.pretrain(config)
    assert not prefixes.saved_in(folder_of(config) / "checkpoints")
    content = ledger.read(folder_of(config))
    assert content.stopped["step"] == 2
    assert content.saved_step == 0
    assert not list(folder_of(config).glob("collapse.csv"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_lost_checkpoints_are_no_new_start(tiny: Make, pretrained: Config) -> None:
    config = tiny()
    shutil.copytree(folder_of(pretrained), folder_of(config), dirs_exist_ok=True)
    shutil.rmtree(folder_of(config) / "checkpoints")
    before = (folder_of(config) / "metrics.csv").read_text()
    with pytest.raises(UsageError, match=r"step 6 was saved .* no checkpoint is left in checkpoints/"):
        pretrain.pretrain(config)
    assert (folder_of(config) / "metrics.csv").read_text() == before


def test_a_lost_selection_is_one_line(tiny: Make) -> None:
    run = RunFolder.open(tiny("finetune"), finetune.COMMAND)
    run.write("validation.csv", "step,top1\n3,50.0\n")
    steps = Steps(total=6, warmup=0, per_epoch=3, between_checkpoints=3)
    choice = selection.Selection(run, tf.keras.layers.Dense(2), mock.Mock(), steps)
    with pytest.raises(UsageError, match=r"--select_on_validation: .*best/ckpt-3.* is gone"):
        choice.restore_best()


def test_training_from_scratch_that_breaks_is_no_accuracy(tiny: Make) -> None:
    config = tiny("label_efficiency", optimizer="momentum", learning_rate=1e38, learning_rate_scaling="none")
    source = inputs.train_source(config, labelled=True).subset(np.arange(64))
    with pytest.raises(Diverged, match=r"step \d of training from scratch: the \w+ is not finite"):
        from_scratch.from_scratch(config, source, source, [None], 1)


def test_a_second_start_is_refused_and_may_be_forced(tiny: Make) -> None:
    config = tiny()
    held = lock.Owner(lock._host(), os.getppid(), lock._started(os.getppid()), config.run.model_dir, "x", 0.0)
    path = folder_of(config) / lock.NAME
    path.write_text(json.dumps(held.__dict__))
    with pytest.raises(UsageError, match=r"--model_dir=.* is in use by process"):
        RunFolder.open(config, pretrain.COMMAND)
    assert {file.name for file in folder_of(config).iterdir()} == {lock.NAME}
    run = RunFolder.open(config.replace(force_unlock=True), pretrain.COMMAND)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    assert run.config == config
    del run
    assert not path.exists()


def test_only_the_chief_of_several_workers_locks(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny()
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    for index, locks in ((1, False), (0, True)):
        task = {"type": "worker", "index": index}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        run = RunFolder.open(config, pretrain.COMMAND)
        assert ((folder_of(config) / lock.NAME).exists(), run.lock is not None) == (locks, locks)


def test_what_a_killed_process_was_writing_is_cleaned(tiny: Make) -> None:
    config = tiny()
    (folder_of(config) / ".metrics.csv.0123.partial").touch()
    RunFolder.open(config, pretrain.COMMAND)
    assert not list(folder_of(config).glob(".*"))


@pytest.mark.parametrize("name", ["config.json", "flags.cfg"])
def test_a_full_disk_at_the_start(tiny: Make, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = RunFolder.write

    def full(self: RunFolder, file: str, text: str) -> None:
        if file == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, file, text)

    monkeypatch.setattr(RunFolder, "write", full)
    with pytest.raises(Interrupted, match="no space is left"):
        RunFolder.open(tiny(), pretrain.COMMAND)


def test_a_full_disk_later(capsys: pytest.CaptureFixture[str]) -> None:
    def full(config: Config) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert cli.main(pretrain.COMMAND, full, ["--dataset=digits", "--model_dir=here"]) == 75
    error = capsys.readouterr().err
    assert error.startswith("pretrain: no space is left on the disk of --model_dir=here")
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_outside_of_training(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    code = cli.main(
        pretrain.COMMAND, lambda config: signal.raise_signal(number), ["--dataset=digits", "--model_dir=x"]
    )
    assert (code, capsys.readouterr().err) == (130, "pretrain: interrupted\n")
    assert signal.getsignal(number) is before


def test_a_signal_that_is_dropped_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "AGAIN", 0.05)

    def drops(config: Config) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            time.sleep(30)

    began = time.perf_counter()
    assert cli.main(pretrain.COMMAND, drops, ["--dataset=digits", "--model_dir=x"]) == 130
    assert time.perf_counter() - began < 10


@pytest.mark.slow
def test_a_mended_rate_goes_on_from_the_last_good_checkpoint(tiny: Make) -> None:
    """Step 1 is at rate 0, whatever the rate: so the end is that of the mended rate from the start."""
    config, other = (tiny(**DIVERGING) for _ in range(2))
    with pytest.raises(Diverged, match=r"the checkpoint of step 1 is good.*lower --learning_rate goes on"):
        pretrain.pretrain(config)
    for value in weights_of(folder_of(config)).values():
        assert value.dtype.kind != "f" or np.isfinite(value).all()
    with pytest.raises(UsageError, match=r"--temperature=0.5 .the run has 0.1"):
        pretrain.pretrain(config.replace(temperature=0.5))
    mended = config.replace(learning_rate=0.01)
    pretrain.pretrain(mended)
    pretrain.pretrain(other.replace(learning_rate=0.01))
    assert_same_run(folder_of(config), folder_of(other))
    (change,) = result_of(config)["mended_flags"]
    assert (change["from_step"], change["was"], change["is"], change["stopped_at"]) == (1, 1e38, 0.01, 2)
    assert "mended_flags" not in result_of(other)
    with pytest.raises(UsageError, match=r"--learning_rate=0\.02"):  # it is beyond the step where it stopped
        pretrain.pretrain(config.replace(learning_rate=0.02))


@pytest.mark.slow
def test_steps_left_out_are_counted_over_interruptions(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config, whole = (tiny(**{**DIVERGING, "skip_nonfinite_steps": 5}) for _ in range(2))
    with stopped_at(3, monkeypatch):
        pretrain.pretrain(config)
    for one in (config, whole):
        pretrain.pretrain(one)
        assert result_of(one)["skipped_nonfinite_steps"] == 5
    assert_same_run(folder_of(config), folder_of(whole))
    few = tiny(**{**DIVERGING, "skip_nonfinite_steps": 2})
    with pytest.raises(Diverged, match=r"step 4: .* after 2 such steps that were left out"):
        pretrain.pretrain(few)
    assert prefixes.step_of(prefixes.find(str(folder_of(few)))) == 3


def command(config: Config, **changes: Any) -> list[str]:
    """The real command of a run."""
    text = flags.flagfile(pretrain.COMMAND, config.replace(**changes))
    path = folder_of(config).parent / f"{folder_of(config).name}.cfg"
    path.write_text(text)
    return [
        sys.executable,
        "-m",
        "tf_simclr.pretrain",
        f"--flagfile={path}",
        f"--model_dir={config.run.model_dir}",
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], exists: Callable[[], bool]) -> None:
    while not exists():
        assert process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.05)


@pytest.mark.slow
def test_sigterm_before_training_is_130_and_leaves_no_lock(tiny: Make) -> None:
    config = tiny()
    process = start(command(config))
    wait_for(process, (folder_of(config) / lock.NAME).exists)
    process.send_signal(signal.SIGTERM)
    error = process.communicate()[1]
    assert process.returncode == 130
    assert error.splitlines()[-1].endswith("pretrain: interrupted")
    assert not (folder_of(config) / lock.NAME).exists()


@pytest.mark.slow
def test_a_second_start_a_second_sigint_and_a_sigkill(tiny: Make) -> None:
    """A living process's lock refuses, a dead one's is taken; the end is that of an undisturbed run."""
    config, undisturbed = (tiny(train_steps=400, checkpoint_steps=20) for _ in range(2))
    saved = folder_of(config) / "checkpoints"
    process = start(command(config))
    wait_for(process, lambda: bool(list(saved.glob("ckpt-*.index"))))
    second = start(command(config))
    assert "is in use by process" in second.communicate()[1]
    assert second.returncode == 2
    process.kill()
    process.communicate()
    assert (folder_of(config) / lock.NAME).exists()

    before = max(prefixes.step_of(prefix) for prefix in prefixes.saved_in(saved))
    process = start(command(config))
    wait_for(process, lambda: max(prefixes.step_of(prefix) for prefix in prefixes.saved_in(saved)) > before)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    if process.returncode != 75:  # the system may give two signals as one
        assert process.returncode == 130
        assert "interrupted again" in error
    assert not (folder_of(config) / lock.NAME).exists()

    for one in (config, undisturbed):
        process = start(command(one))
        assert process.wait() == 0, process.communicate()[1][-2000:]
        process.communicate()
    assert_same_run(folder_of(config), folder_of(undisturbed))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of a size in memory; again: of another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: str) -> Path:
        options = f"size={size}" if not os.path.ismount(place) else f"remount,size={size}"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        return place

    yield sized
    subprocess.run(["umount", place], check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4m", "60k", "12k"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(
    disk: Callable[[str], Path], tiny: Make, size: str
) -> None:
    run = disk(size) / "run"
    options = {**TINY, "train_steps": 40, "checkpoint_steps": 5, "keep_checkpoint_max": 0}
    whole, config = tiny(**options), Config("pretrain").replace(**options, model_dir=str(run))
    arguments = [*command(whole)[:-1], f"--model_dir={run}"]
    process = start(arguments)
    error = process.communicate()[1]
    assert process.returncode == 75, error[-2000:]
    assert "no space is left" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not [path for path in run.rglob("*") if "temp" in path.name or "partial" in path.name]
    assert (len(prefixes.saved_in(run / "checkpoints")) > 0) == (size == "4m")
    disk("100m")
    pretrain.pretrain(config)
    pretrain.pretrain(whole)
    assert_same_run(run, folder_of(whole))
