"""`doctor --sizes` says what docs/scaling.md says."""

from __future__ import annotations

import functools
import pkgutil
import re
from pathlib import Path

import pytest
import tensorflow as tf

from tf_simclr import doctor, objectives
from tf_simclr.checks import sizes
from tf_simclr.config import Config
from tf_simclr.methods import simclr
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.runs import build

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"GiB": 2**30, "MiB": 2**20, "": 1}


def rows_of_the_table() -> list[tuple[int, int, list[tuple[float, float]]]]:
    """Replicas, batch, and (bytes, half a unit in the last place) of each column."""
    rows = []
    for line in (ROOT / "docs" / "scaling.md").read_text().splitlines():
        match = re.match(r"\| (\d+)(?: \(batch (\d+)\))? \| (.* GiB .*) \|$", line)
        if match:
            cells = [re.match(r"([\d.]+) ?(\w*)", cell.strip()).groups() for cell in match[3].split("|")]
            columns = []
            for number, unit in cells:
                last_place = 10.0 ** -len(number.partition(".")[2])
                columns.append((float(number) * UNITS[unit], 0.51 * last_place * UNITS[unit]))
            rows.append((int(match[1]), int(match[2] or 4096), columns))
    return rows


@pytest.mark.slow
def test_the_documented_sizes_are_those_of_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    encoder = build.encoder(Config("doctor"))  # the same for all rows
    monkeypatch.setattr(build, "encoder", lambda config: encoder)
    monkeypatch.setattr(sizes, "_kept_bytes_of_one_view", functools.cache(sizes._kept_bytes_of_one_view))
    rows = rows_of_the_table()
    assert [replicas for replicas, *_ in rows] == [1, 8, 16, 32]
    for replicas, batch, documented in rows:
        size = sizes.of(Config("doctor").replace(train_batch_size=batch, precision="bfloat16"), replicas)
        found = [
            2 * size.weights + size.optimizer,
            size.activations,
            size.views,
            size.loss,
            size.memory,
            size.exchanged_gradients,
            size.exchanged_batch_norm,
            size.exchanged_by_method,
        ]
        for value, (expected, tolerance) in zip(found, documented, strict=True):
            assert value == pytest.approx(expected, abs=tolerance), (replicas, found)


def test_flagfiles_of_pretrain_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    flagfile = ROOT / "flags" / "digits" / "pretrain.cfg"
    assert doctor.main(["--sizes", f"--flagfile={flagfile}", "--devices=1"]) == 0
    assert "memory of a replica" in capsys.readouterr().out


@pytest.mark.parametrize(("method", "views"), [("simclr", 2), ("moco", 1), ("pcl", 1)])
def test_activations_are_of_the_views_that_are_encoded_with_gradients(
    method: str, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "_kept_bytes_of_one_view", lambda encoder, side: 1000)
    config = Config("doctor").replace(method=method, train_batch_size=64, resnet_depth=18, image_size=16)
    assert sizes.of(config, 1).activations == views * 64 * 1000


def test_every_objective_is_reckoned_by_itself() -> None:
    own = {module.name for module in pkgutil.iter_modules(objectives.__path__)} - set(objectives._SHARED)
    assert own == set(simclr._COPIES)
    loss = {name: SimCLR(objective=name).sizes(512, 512, 128, 0, 1).loss for name in own}
    assert loss["info_nce"] < loss["nt_xent"] < loss["triplet"] < loss["max_margin"]
    hard = SimCLR(objective="triplet(margin=0.3)", negatives="semi_hard")
    assert hard.sizes(512, 512, 128, 0, 1).loss > loss["triplet"]
