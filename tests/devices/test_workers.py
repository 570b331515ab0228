"""The real command on two workers: together, one of them killed, one of them asked to stop."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.processes import finish, start, workers
from tf_simclr import finetune, linear_eval

FLAGS = """
--dataset=digits
--image_size=8
--resnet_depth=18
--width_multiplier=0.125
--train_batch_size=64
--train_steps=40
--warmup_epochs=0
--proj_out_dim=8
--nouse_flip
--checkpoint_steps=5
""".split()


def command(folder: Path) -> list[str]:
    return ["-m", "tf_simclr.pretrain", *FLAGS, f"--model_dir={folder}"]


def wait_for_checkpoint(folder: Path, processes: list[subprocess.Popen[str]]) -> None:
    while not list(folder.glob("checkpoints/ckpt-*.index")):
        for process in processes:
            assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.1)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


TWO_DEVICES = """
import sys, tf_simclr, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tf_simclr import pretrain
sys.exit(pretrain.main(sys.argv[1:]))
"""


FEW = ["--train_steps=3", "--checkpoint_steps=2"]  # of 64 images; more drift apart by float32's rounding


def assert_alike(together: Path, alone: Path) -> None:
    """The same files, and the same row but for rounding, which may decide ties in the accuracies."""
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    for name, value in rows(alone)[0].items():
        ties = 2.01 / 192 if name.endswith("accuracy") else 0
        np.testing.assert_allclose(float(rows(together)[0][name]), float(value), rtol=0.02, atol=ties)


@pytest.mark.slow
def test_two_replicas_of_one_host_write_what_one_does(tmp_path: Path) -> None:
    """The whole command: rows, checkpoints, resuming under another number of replicas, evaluation."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    mirrored = ["-c", TWO_DEVICES, *command(together)[2:], "--strategy=mirrored", *FEW]
    assert "2 replicas" in finish(start(mirrored))
    finish(start([*command(alone), *FEW]))
    assert_alike(together, alone)
    shutil.rmtree(together / "checkpoints")
    shutil.copytree(alone / "checkpoints", together / "checkpoints")
    for newest in (together / "checkpoints").glob("ckpt-3*"):
        newest.unlink()
    finish(start(mirrored))  # goes on from one replica's checkpoint of step 2


def kill_one(run: Path, killed: int) -> None:
    """Starts two workers, kills one after the first checkpoint, and waits for the other's end."""
    processes = workers([command(run), command(run)])
    wait_for_checkpoint(run, processes)
    os.kill(processes[killed].pid, signal.SIGKILL)
    began = time.perf_counter()
    output = finish(processes[1 - killed], code=75)
    assert "lost another worker" in output
    assert time.perf_counter() - began < 180
    processes[killed].communicate()
    assert not (run / "result.json").exists()


@pytest.mark.slow
def test_a_killed_worker_stops_the_chief(tmp_path: Path) -> None:
    kill_one(tmp_path / "run", 1)


@pytest.mark.slow
def test_a_killed_chief_stops_the_other_and_the_same_command_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_one(run, 0)
    outputs = [finish(process) for process in workers([command(run), command(run)])]
    assert all(re.search(r"goes on from step [1-9]", output) for output in outputs), outputs
    assert rows(run)[-1]["step"] == "40"
    assert not list(run.glob("**/*tf_simclr_worker*"))


@pytest.mark.slow
def test_two_workers_write_one_run_folder_like_one_worker(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for process in workers([[*command(together), *FEW]] * 2):
        finish(process)
    finish(start([*command(alone), *FEW]))
    assert_alike(together, alone)


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", [finetune, linear_eval])
def test_two_workers_train_on_labels_like_one(evaluation: ModuleType, tmp_path: Path) -> None:
    flags = [*FLAGS, *FEW, "--learning_rate=0.5"]
    alone, together = ([*flags, f"--model_dir={tmp_path / name}"] for name in ("alone", "together"))
    for process in workers([["-m", evaluation.__name__, *together]] * 2):
        finish(process)
    assert evaluation.main(alone) == 0
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("alone", "together")]
    assert results[0]["top1"] == pytest.approx(results[1]["top1"], abs=2 * 100 / 360)  # two ties
    assert_alike(tmp_path / "together", tmp_path / "alone")


@pytest.mark.slow
def test_sigterm_to_one_worker_saves_and_stops_all(tmp_path: Path) -> None:
    run = tmp_path / "run"
    processes = workers([command(run), command(run)])
    wait_for_checkpoint(run, processes)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        assert "stopped and saved" in finish(process, code=75)
