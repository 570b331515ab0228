"""The collapse detector: its figures by hand, and that it leaves a training as it is."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from tests.small_runs import Make, folder_of, rows_of
from tf_simclr import pretrain
from tf_simclr.config import Config, Steps
from tf_simclr.data import open_source
from tf_simclr.errors import Interrupted
from tf_simclr.runs import prefixes
from tf_simclr.training import callbacks, collapse


def test_z_over_the_whole_sphere_is_healthy_and_one_point_is_not() -> None:
    rng = np.random.default_rng(0)
    assert collapse.relative_std(rng.normal(size=[4000, 64])) == pytest.approx(1.0, abs=0.01)
    point = np.repeat(rng.normal(size=[1, 64]), 50, axis=0)
    assert collapse.relative_std(point * rng.uniform(1, 9, [50, 1])) == pytest.approx(0.0, abs=1e-12)
    assert collapse.relative_std(np.zeros([5, 3])) == 0.0
    half = np.zeros([100, 4])
    half[:50, 0], half[50:, 0] = 3.0, -0.1
    assert collapse.relative_std(half) == pytest.approx(0.5)  # one of four dimensions, of deviation 1


def test_the_effective_rank_counts_the_directions() -> None:
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=[40, 40]))[0]
    for rank in (1, 5, 20):
        h = np.concatenate([basis[:rank], -basis[:rank]]) + 7.0
        assert collapse.effective_rank(h) == pytest.approx(rank)
    singular = np.array([3.0, 1.0])
    shares = singular / singular.sum()
    h = np.concatenate([np.diag(singular), -np.diag(singular)])
    assert collapse.effective_rank(h) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert collapse.effective_rank(np.ones([6, 3])) == 0.0
    assert np.isnan(collapse.effective_rank(np.array([[np.inf, 1.0], [2.0, 3.0]])))


def weights(config: Config) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefixes.find(config.run.model_dir))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.slow
def test_it_changes_nothing_and_a_row_follows_every_epoch(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"train_batch_size": 700, "train_steps": 5}
    watched, alone = tiny(**options), tiny(**options)
    pretrain.pretrain(watched)
    monkeypatch.setattr(collapse, "watchers", lambda *_: lambda start: [])
    pretrain.pretrain(alone)
    table = "metrics.csv"
    assert (folder_of(watched) / table).read_bytes() == (folder_of(alone) / table).read_bytes()
    ours, theirs = weights(watched), weights(alone)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value, err_msg=name)
    assert not (folder_of(alone) / "collapse.csv").exists()
    rows = rows_of(folder_of(watched) / "collapse.csv")
    assert [int(row["step"]) for row in rows] == [2, 4, 5]
    assert all(0 < float(row["z_std"]) <= 1 for row in rows)
    assert all(1 < float(row["h_effective_rank"]) <= 64 for row in rows)
    assert "Collapse: spread of z" in (folder_of(watched) / "report.html").read_text()
    events = b"".join(path.read_bytes() for path in (folder_of(watched) / "logs").rglob("*tfevents*"))
    assert b"h_effective_rank" in events


class StopAtFour(callbacks.Saver):
    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGTERM)
        super().on_steps(before, step, logs)


@pytest.mark.slow
def test_an_interrupted_run_has_the_same_rows(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"train_batch_size": 700, "train_steps": 5, "checkpoint_steps": 3}
    whole, stopped = tiny(**options), tiny(**options)
    pretrain.pretrain(whole)
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAtFour)
        with pytest.raises(Interrupted):
            pretrain.pretrain(stopped)
    for path in (folder_of(stopped) / "checkpoints").glob("ckpt-4.*"):
        path.unlink()  # as if killed after step 4: its row belongs to lost work
    pretrain.pretrain(stopped)
    name = "collapse.csv"
    assert (folder_of(stopped) / name).read_bytes() == (folder_of(whole) / name).read_bytes()


def test_the_sample_is_small_and_of_all_the_images() -> None:
    source = open_source("digits", "train")
    config = Config("pretrain").replace(dataset="digits", image_size=8, eval_batch_size=100)
    batches = collapse.sample(config, source)
    assert [len(batch) for batch in batches] == [100, 1437 // 8 - 100]
    assert batches[0].dtype == np.uint8
    first, last = (source.decode(record["image"]) for record in list(source.records())[:: 1437 - 1])
    np.testing.assert_array_equal(batches[0][0], first)
    np.testing.assert_array_equal(batches[-1][-1], last)


@pytest.mark.parametrize(
    ("figures", "lines"), [([0.05, 0.5, 0.5], 0), ([0.05, 0.05, 0.01], 1), ([0.5, 0.2, 0.09], 1)]
)
def test_one_line_says_that_z_collapsed(
    figures: list[float], lines: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first row is of before batch norm's statistics have settled."""
    run: Any = SimpleNamespace(
        path=epath.Path(tmp_path), logs=tmp_path, checkpoints=epath.Path(tmp_path) / "checkpoints"
    )
    steps = Steps(total=90, warmup=0, per_epoch=30, between_checkpoints=90)
    values = iter(figures)
    watcher = collapse._EveryEpoch(0, steps, run, lambda: {"z_std": next(values)}, collapse._settled(0.9))
    for step in range(90):
        watcher.on_steps(step, step + 1, {})
    resumed = collapse._EveryEpoch(90, steps, run, lambda: {"z_std": 0.01}, collapse._settled(0.9))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all("z_std" in line and "--learning_rate" in line for line in said)
    assert resumed._warned == bool(lines)
