"""Recorded frames: exactly repeatable, in order, with the state that each shows; mistakes in one line."""

from __future__ import annotations

import csv
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tf_simclr import record
from tf_simclr.config import Config
from tf_simclr.control import environments, recording
from tf_simclr.errors import UsageError

gymnasium = pytest.importorskip(
    "gymnasium", reason="needs gymnasium: pip install -r requirements-control.txt"
)
SMALL = {"environment": "CartPole-v1", "train_episodes": 3, "test_episodes": 2, "frame_size": 20}


def recorded(folder: Path, **changes: Any) -> dict[str, bytes]:
    record.record(Config("record").replace(**{**SMALL, "frames_dir": str(folder), **changes}))
    files = (path for path in folder.rglob("*") if path.suffix in (".png", ".csv"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "states.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()  # an empty folder is as good as none
    one, again = (recorded(tmp_path / name) for name in ("one", "again"))
    other = recorded(tmp_path / "other", recording_seed=1)
    assert one == again
    assert one["states.csv"] != other["states.csv"]
    rows = rows_of(tmp_path / "one")
    assert set(one) == {"states.csv"} | {row["file"] for row in rows}
    assert {row["episode"] for row in rows} == {"train_0", "train_1", "train_2", "test_0", "test_1"}
    assert one["train/00000_00002.png"] != one["test/00000_00002.png"]  # not the same episode
    assert not list(tmp_path.glob(".*.partial"))


def test_images_are_three_frames_in_order_with_the_state_of_the_newest(tmp_path: Path) -> None:
    recorded(tmp_path / "f", start_spread=1.5, train_episodes=30, frame_size=100)
    rows = [row for row in rows_of(tmp_path / "f") if row["file"].startswith("train/")]
    stacks = [np.asarray(Image.open(tmp_path / "f" / row["file"])) for row in rows]
    pairs = [(i, i + 1) for i in range(len(rows) - 1) if rows[i]["episode"] == rows[i + 1]["episode"]]
    assert len(pairs) > 100
    for i, j in pairs:
        np.testing.assert_array_equal(stacks[i][..., 1:], stacks[j][..., :2])
        moved = float(rows[j]["position"]) - float(rows[i]["position"])
        assert moved == pytest.approx(0.02 * float(rows[i]["velocity"]), abs=1e-5)  # Euler's step
    darkness = 255 - np.stack(stacks)[:, 60:80, :, 2].astype(float)  # the rows of cart and axle
    places = (darkness.sum(axis=1) @ np.arange(100)) / darkness.sum(axis=(1, 2))
    positions = np.array([float(row["position"]) for row in rows])
    assert np.corrcoef(places, positions)[0, 1] > 0.99
    assert np.abs(positions).max() > 0.5


@pytest.fixture
def pendulum() -> Iterator[Any]:
    made = environments.make("Pendulum-v1")
    yield made
    made.close()


def test_a_policy_of_vectors_keeps_within_the_bounds_and_differs_by_episode(pendulum: Any) -> None:
    first, second = (recording._policy(pendulum, np.random.default_rng(seed)) for seed in (0, 1))
    seen = np.random.default_rng(2).normal(size=[50, 3])
    actions = np.array([[policy(one) for one in seen] for policy in (first, second)])
    assert np.abs(actions).max() <= 2
    assert np.abs(actions).max() > 1
    assert not np.allclose(actions[0], actions[1])
    assert environments.state_names(pendulum) == ("cos_angle", "sin_angle", "angular_velocity")


class Unseen(gymnasium.Env):
    """Shows nothing."""

    observation_space = gymnasium.spaces.Box(-1, 1, [2])
    action_space = gymnasium.spaces.Discrete(2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": ""}, "--environment is required"),
        ({"environment": "NoSuch-v0"}, "--environment=NoSuch-v0: cannot be made"),
        ({"environment": "Blackjack-v1"}, "--environment=Blackjack-v1: its observations are no vector"),
        ({"environment": "Unseen-v0"}, "--environment=Unseen-v0: shows no pixels"),
        ({"frames_dir": ""}, "--frames_dir is required"),
        ({"frames_dir": "."}, "--frames_dir=.: is not empty"),
        ({"frames_dir": "/dev/null/f"}, "--frames_dir=/dev/null/f: cannot be written"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    gymnasium.register("Unseen-v0", entry_point=Unseen)
    try:
        with pytest.raises(UsageError, match=words) as error:
            recorded(tmp_path / "f", **changes)
    finally:
        del gymnasium.registry["Unseen-v0"]
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_recording_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fall(*_: Any) -> None:
        raise RuntimeError("fell")

    monkeypatch.setattr(environments, "frame", fall)
    with pytest.raises(RuntimeError, match="fell"):
        recorded(tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_interruption_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert record.main(["--environment=CartPole-v1", f"--frames_dir={tmp_path / 'f'}"]) == 75
    assert "no space is left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
