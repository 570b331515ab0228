"""n replicas train as one: virtual devices, and processes on localhost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.processes import finish, start, workers
from tf_simclr.checks import parity

WORKER = Path(__file__).with_name("parity_worker.py")


@pytest.mark.parametrize("devices", [2, 4])
def test_the_command_finds_no_difference(devices: int) -> None:
    output = finish(start(["-m", "tf_simclr.doctor", "--parity", f"--devices={devices}"]))
    rows = dict(re.findall(r"^  (\w+) +([\d.e+-]+)  ", output, re.MULTILINE))
    assert rows.keys() == {"loss", "gradients", "weights", "statistics"}
    assert all(float(value) < 1e-9 for value in rows.values()), rows


@pytest.mark.slow
def test_every_known_mistake_breaks_parity() -> None:
    output = finish(start([str(WORKER), "mistakes"]))
    print(output)
    assert output.count("\n") >= 3


def test_rounding_of_an_exact_zero_is_no_difference() -> None:
    one = {"statistics/mean": np.array([1e-17, -2e-17])}
    assert parity.holds(parity.largest_differences(one, {"statistics/mean": np.array([-3e-17, 1e-16])}))
    assert not parity.holds(parity.largest_differences(one, {"statistics/mean": np.array([0, 1e-12])}))


@pytest.mark.slow
def test_the_command_fails_where_parity_does(tmp_path: Path) -> None:
    script = (
        "import sys; from tf_simclr import doctor; from tf_simclr.checks import parity;"
        "parity.TOLERANCE = -1; sys.exit(doctor.main(['--parity']))"
    )
    assert "do not train as one" in finish(start(["-c", script]), code=1)


def test_more_devices_than_the_batch_divides_by_are_refused() -> None:
    assert "--devices=3" in finish(start(["-m", "tf_simclr.doctor", "--parity", "--devices=3"]), code=2)


@pytest.mark.slow
def test_checkpoints_load_under_any_number_of_replicas(tmp_path: Path) -> None:
    for replicas, loaded in ((2, 4), (4, 6), (2, 6)):
        output = finish(start([str(WORKER), "checkpoints", str(tmp_path), str(replicas)]))
        assert f"{loaded} loaded" in output


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{i}.npz") for i in range(2)]
    for process in workers([[str(WORKER), "worker", file] for file in files]):
        finish(process)
    finish(start([str(WORKER), "alone", str(tmp_path / "alone.npz")]))
    alone = np.load(tmp_path / "alone.npz")
    for file in files:
        own = np.load(file)
        assert set(own.files) == set(alone.files)
        for name in alone.files:
            np.testing.assert_allclose(own[name], alone[name], rtol=1e-7, atol=1e-10, err_msg=name)
        print(parity.report(parity.largest_differences(alone, own)))
