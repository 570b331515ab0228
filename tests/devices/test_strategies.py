"""Devices: what is refused, what a resumed run may change, batches from a service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.data import bad_files
from tests.data.pictures import encoded, picture, write
from tests.small_runs import TINY
from tf_simclr import cli, finetune, inputs, pretrain
from tf_simclr.config import Config, Steps
from tf_simclr.devices import data_service, distribution, strategies
from tf_simclr.devices.cluster import Worker, this_worker
from tf_simclr.errors import UsageError
from tf_simclr.runs import build, prefixes

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Config]
HOSTS = ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("options", "replicas", "message"),
    [
        ({"train_batch_size": 30}, 4, "--train_batch_size=30 does not divide by the 4 replicas"),
        ({"train_batch_size": 32, "micro_batches": 3}, 2, "--micro_batches=3 does not divide the 16 images"),
        ({"train_batch_size": 32, "loss_block_size": 17}, 2, "--loss_block_size=17 does not fit"),
    ],
)
def test_batches_that_do_not_divide_are_refused(options: dict[str, int], replicas: int, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        strategies.check_batch(Config("pretrain").replace(**options), replicas)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"micro_batches": 3}, "--micro_batches=3 does not divide the 64 images"),
        ({"loss_block_size": 65}, "--loss_block_size=65 does not fit: a replica has 64 images"),
    ],
)
def test_a_run_whose_batch_does_not_divide_ends_with_exit_code_2(
    options: dict[str, int], message: str, tiny: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {**TINY, **options, "model_dir": tiny().run.model_dir}
    assert pretrain.main([f"--{name}={value}" for name, value in asked.items()]) == 2
    assert message in capsys.readouterr().err


def test_workers_agree_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast their steps are; and at every step where these are slow."""
    monkeypatch.setattr(distribution, "is_multi_worker", lambda strategy: True)
    clock = 0.0
    monkeypatch.setattr(distribution.time, "perf_counter", lambda: clock)
    for seconds, agreed in ((0.01, 10), (1.0, 50)):
        agreement, calls = distribution.Agreement(tf.distribute.get_strategy()), []
        for _ in range(50):
            clock += seconds
            calls.append(agreement.any_worker(True, at_once=False))
        assert calls[0]
        assert sum(calls) <= agreed
        assert all(any(calls[i : i + 26]) for i in range(24))
        for _ in range(2):
            clock += seconds
            assert agreement.any_worker(True, at_once=True)
    assert all(calls)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "one_device", "tpu_name": "x"}, "--tpu_name is for --strategy=tpu"),
        ({"strategy": "auto", "gcp_project": "x"}, "--gcp_project is for --strategy=tpu"),
        ({"strategy": "tpu"}, "needs --tpu_name"),
        (
            {"strategy": "tpu", "tpu_name": "grpc://localhost:1"},
            "--tpu_name=grpc://localhost:1: no TPU found",
        ),
        ({"strategy": "multi_worker"}, "needs TF_CONFIG"),
        (
            {"strategy": "tpu", "tpu_name": "x", "precision": "float16"},
            "--precision=float16 is not for TPUs: give --precision=bfloat16",
        ),
    ],
)
def test_devices_that_are_not_there_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        strategies.make_strategy(Config("pretrain").replace(**options).devices)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_tf_config_that_cannot_be_used_is_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="TF_CONFIG cannot be used") as error:
        this_worker(Config("pretrain").devices)
    assert "\n" not in str(error.value)


def test_wrong_setups_end_with_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "{")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tf_simclr.pretrain", "--dataset=digits", "--model_dir=x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1
    assert "TF_CONFIG" in said[0]
    assert not re.search(r"\| *tensorflow$", done.stderr, flags=re.MULTILINE)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("flags", [["--sweep"], ["--seeds=0,1"], ["--compare_with=runs/other"]])
def test_several_workers_do_one_run(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = {"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    run = tmp_path / "run"
    assert finetune.main(["--dataset=digits", f"--model_dir={run}", *flags]) == 2
    assert f"{flags[0].partition('=')[0]} is for one process" in capsys.readouterr().err
    assert not run.exists()


@pytest.mark.parametrize(
    ("cluster", "task", "worker"),
    [
        ({"worker": HOSTS}, {"type": "worker", "index": 0}, Worker(0, 2)),
        ({"worker": HOSTS}, {"type": "worker", "index": "1"}, Worker(1, 2)),
        ({"chief": ["c:1"], "worker": HOSTS}, {"type": "chief", "index": 0}, Worker(0, 3)),
        ({"chief": ["c:1"], "worker": HOSTS}, {"type": "worker", "index": 0}, Worker(1, 3)),
    ],
)
def test_the_chief_is_the_first_task(
    cluster: dict[str, list[str]], task: dict[str, object], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert this_worker(Config("pretrain").devices) == worker
    assert this_worker(Config("pretrain").replace(strategy="one_device").devices) == Worker()


@pytest.mark.slow
def test_steps_per_execution_change_no_row_and_no_weight(tiny: Make, pretrained: Config) -> None:
    """6 steps, saved every 3: executions of 3 end where single steps are counted."""
    config = tiny(steps_per_execution=3)
    pretrain.pretrain(config)
    ours, theirs = Path(config.run.model_dir), Path(pretrained.run.model_dir)
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (ours, theirs)]
    assert len(rows[0]) == len(rows[1])
    for own, other in zip(rows[0][1:], rows[1][1:], strict=True):
        np.testing.assert_allclose(
            [float(value) for value in own.split(",")],
            [float(value) for value in other.split(",")],
            rtol=1e-3,
            atol=1e-3,
        )
    names = [
        sorted(path.name for path in (folder / "checkpoints").glob("*.index")) for folder in (ours, theirs)
    ]
    assert names[0] == names[1]
    readers = [tf.train.load_checkpoint(prefixes.find(str(folder))) for folder in (ours, theirs)]
    for name in readers[1].get_variable_to_shape_map():
        if name.startswith("model/"):
            own, other = (reader.get_tensor(name) for reader in readers)
            assert np.linalg.norm(own - other) <= 1e-4 * np.linalg.norm(other), name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_lost_at_any_time_is_one_line(
    workers: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in training alone: batch statistics are read over replicas in an evaluation, too."""

    def evaluate(config: Config) -> None:
        raise tf.errors.UnavailableError(None, None, "Connection reset by peer\nand more")

    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": HOSTS[:workers]}, "task": task}))
    given = ["--dataset=digits", "--model_dir=x"]
    if workers == 1:
        with pytest.raises(tf.errors.UnavailableError):
            cli.main(pretrain.COMMAND, evaluate, given)
        return
    assert cli.main(pretrain.COMMAND, evaluate, given) == 75
    assert capsys.readouterr().err == (
        "pretrain: lost another worker (UnavailableError: Connection reset by peer); what was saved last "
        "is good; start every worker; run the same command again to go on\n"
    )


@pytest.mark.parametrize(
    ("message", "lost"),
    [("Collective ops is aborted by: connection reset", True), ("Blas GEMM launch failed", False)],
)
def test_an_internal_error_is_a_lost_workers_by_what_it_says(message: str, lost: bool) -> None:
    assert distribution.is_lost_worker(tf.errors.InternalError(None, None, message)) == lost


@pytest.mark.parametrize(("gpus", "compiled"), [([], False), (["GPU:0"], True)])
def test_the_whole_step_is_compiled_where_that_pays(
    gpus: list[str], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    model = mock.Mock(trainable_variables=[])
    config = Config("pretrain").replace(jit_compile=True)
    build.compiled(model, config, Steps(total=1, warmup=0, per_epoch=1, between_checkpoints=1))
    assert model.compile.call_args.kwargs["jit_compile"] == compiled


@pytest.fixture
def services() -> list[str]:
    """Two tf.data services of one worker each, TensorFlow's own."""
    service = tf.data.experimental.service
    dispatchers = [service.DispatchServer() for _ in range(2)]
    workers = [
        service.WorkerServer(service.WorkerConfig(dispatcher_address=dispatcher.target.split("://")[1]))
        for dispatcher in dispatchers
    ]
    yield [dispatcher.target for dispatcher in dispatchers]
    del workers, dispatchers


def test_services_make_the_batches_that_the_process_would(tiny: Make, services: list[str]) -> None:
    config = tiny()
    source = inputs.train_source(config)
    own = list(inputs.pretraining_batches(config, source, 3)(5).take(2).as_numpy_iterator())
    for addresses in (services[0], ",".join(services)):
        remote = inputs.pretraining_batches(config.replace(data_service=addresses), source, 3)(5)
        for ours, theirs in zip(own, remote.take(2).as_numpy_iterator(), strict=True):
            for name, value in ours.items():
                np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.mark.slow
def test_services_replace_bad_images_by_the_same_rule(
    tiny: Make, services: list[str], tmp_path: Path
) -> None:
    images = {f"{i}.png": encoded(picture(12 + i, 12), "PNG") for i in range(40)}
    dataset = write(tmp_path, images | {"3.png": bad_files.PNG[:-40], "17.png": bad_files.broken_crc()})
    config = tiny(dataset=dataset, max_bad_images=2.0, train_batch_size=16)
    own = list(inputs.pretraining_batches(config, inputs.train_source(config), 3)(5).take(3))
    far = config.replace(data_service=services[0])
    source = inputs.train_source(far)
    remote = list(inputs.pretraining_batches(far, source, 3)(5).take(3))
    tf.nest.map_structure(np.testing.assert_array_equal, own, remote)
    assert not source.bad_images.rows


def test_a_second_worker_behind_a_dispatcher_is_found_out(
    tiny: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """It makes every batch a second time, from when the client has heard of it."""
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    host = dispatcher.target.split("://")[1]
    workers = [service.WorkerServer(service.WorkerConfig(dispatcher_address=host)) for _ in range(2)]
    deadline = time.monotonic() + 60
    while dispatcher._num_workers() < len(workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    asked = {**TINY, "model_dir": tiny().run.model_dir, "data_service": dispatcher.target}
    asked["train_steps"] = 2000
    assert pretrain.main([f"--{name}={value}" for name, value in asked.items()]) == 2
    assert f"--data_service={dispatcher.target}: gives batches twice" in capfd.readouterr().err


def test_services_that_do_not_divide_the_batch_are_blamed(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_service, "_require_answer", lambda address: None)
    config = tiny(data_service="grpc://a:1,grpc://b:1,grpc://c:1")
    with pytest.raises(UsageError, match="--data_service names 3 services for each worker: --train_batch"):
        inputs.pretraining_batches(config, inputs.train_source(config), 3)(0)


@pytest.mark.parametrize("address", ["localhost:1", "grpc://localhost", "grpc://localhost:1"])
def test_a_service_that_is_not_there_is_refused_at_once(tiny: Make, address: str) -> None:
    config = tiny(data_service=address)
    with pytest.raises(UsageError, match="--data_service="):
        inputs.pretraining_batches(config, inputs.train_source(config), 3)
