"""Runs whose views the device makes: those of the host, to what a grey level changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import assert_same_run, folder_of, rows_of, stopped_at, weights_of
from tf_simclr import inputs, pretrain
from tf_simclr.config import Config, Steps
from tf_simclr.data import open_source
from tf_simclr.data.device_views import bytes_at_work
from tf_simclr.devices import memory
from tf_simclr.errors import UsageError
from tf_simclr.inputs import feeding
from tf_simclr.runs import build

Make = Callable[..., Config]
STEPS = Steps(total=6, warmup=0, per_epoch=22, between_checkpoints=6)


@pytest.fixture(scope="module")
def fed(tiny: Make) -> Config:
    """A finished tiny pretraining, fed by the device."""
    config = tiny(feed="device")
    pretrain.pretrain(config)
    return config


def test_a_run_fed_by_the_device_is_the_hosts(fed: Config, pretrained: Config) -> None:
    (host,), (device,) = (rows_of(folder_of(config) / "metrics.csv") for config in (pretrained, fed))
    assert device.keys() == host.keys()
    for name, value in host.items():
        assert float(device[name]) == pytest.approx(float(value), rel=0.02), name


def test_checkpoints_hold_no_images(fed: Config, pretrained: Config) -> None:
    assert weights_of(folder_of(fed)).keys() == weights_of(folder_of(pretrained)).keys()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_end(
    fed: Config, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(feed="device")
    with stopped_at(2, monkeypatch):
        pretrain.pretrain(config)
    pretrain.pretrain(config)
    assert_same_run(folder_of(config), folder_of(fed))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"method": "nnclr"}, {"method": "moco"}, {"micro_batches": 2}, {"steps_per_execution": 3}]
)
def test_every_way_to_train_takes_views_of_the_device(tiny: Make, options: dict[str, Any]) -> None:
    rows = []
    for feed in ("host", "device"):
        config = tiny(feed=feed, **options)
        pretrain.pretrain(config)
        rows.append(
            {name: float(value) for name, value in rows_of(folder_of(config) / "metrics.csv")[0].items()}
        )
    for name, value in rows[0].items():
        assert rows[1][name] == pytest.approx(value, rel=0.03, abs=0.01), name


def test_auto_takes_a_tenth_of_an_accelerators_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("pretrain")
    assert feeding.most_bytes(config) == 0  # there is none
    monkeypatch.setattr(feeding, "accelerator_memory", lambda: 1000)
    assert feeding.most_bytes(config) == 100
    assert feeding.most_bytes(config.replace(feed="host")) == 0
    assert feeding.most_bytes(config.replace(data_service="grpc://a:1")) == 0


def test_the_smallest_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["it"] if kind == "GPU" else [])
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: Said("24576\n8192\n"))
    assert memory.accelerator_memory() == 8 * 2**30
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: Said("[N/A]\n"))
    assert memory.accelerator_memory() == 0


class Said:
    def __init__(self, stdout: str) -> None:
        self.stdout = stdout


def test_images_that_do_not_fit_are_left_to_the_host_or_a_mistake(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source("digits", "train")
    config = tiny()
    model = build.pretraining(config, 0, STEPS)
    most = 1437 * 8 * 8 * 3 + 64 * bytes_at_work((8, 8, 3), 8, 2)
    for memory_of, key in ((most * 10 - 10, "views"), (most * 10, "boxes")):
        monkeypatch.setattr(feeding, "accelerator_memory", lambda memory_of=memory_of: memory_of)
        assert key in inputs.fed_batches(config, source, model)(0).element_spec
    monkeypatch.setattr(np, "zeros", never_enough)
    with pytest.raises(UsageError, match=r"--feed=device: the 1,437 images of digits do not fit"):
        inputs.fed_batches(config.replace(feed="device"), source, model)


def never_enough(*_: Any) -> np.ndarray:
    raise MemoryError
