"""What the progress bar says against the wall clock, and the profile of some steps."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from tf_simclr import pretrain
from tf_simclr.config import Config, Steps
from tf_simclr.errors import UsageError
from tf_simclr.training.callbacks import Progress
from tf_simclr.training.profiling import Profiler

IMAGES = 10  # a step


def test_rate_and_time_left_are_those_of_the_wall_clock() -> None:
    total = 40
    progress = Progress(0, Steps(total=total, warmup=0, per_epoch=10, between_checkpoints=10), IMAGES)
    time.sleep(0.5)  # the first call is traced
    progress.on_steps(0, 1, {})
    began = time.perf_counter()
    for step in range(1, 20):
        time.sleep(0.01)
        progress.on_steps(step, step + 1, {})
    seconds = time.perf_counter() - began
    shown = progress.bar.format_dict
    rate = (shown["n"] - shown["initial"]) / shown["elapsed"]
    assert shown["rate"] is None  # so that tqdm shows the mean
    assert rate == pytest.approx(19 * IMAGES / seconds, rel=0.05)
    assert progress.images_per_second == pytest.approx(rate, rel=0.05)
    assert shown["n"] == 20 * IMAGES
    left = (shown["total"] - shown["n"]) / rate
    assert left == pytest.approx(20 / 19 * seconds, rel=0.05)
    progress.on_train_end()


def test_a_run_that_goes_on_counts_its_own_steps_only() -> None:
    progress = Progress(30, Steps(total=40, warmup=0, per_epoch=10, between_checkpoints=10), IMAGES)
    for step in range(30, 34):
        time.sleep(0.01)
        progress.on_steps(step, step + 1, {})
    assert progress.bar.n == 34 * IMAGES
    assert progress.images_per_second < 1.1 * IMAGES / 0.01
    progress.on_train_end()


@pytest.fixture(scope="module")
def profile(tiny: Callable[..., Config]) -> Path:
    """The profile of steps 2 and 3."""
    config = tiny(train_steps=4, profile_steps="2,3")
    pretrain.pretrain(config)
    (path,) = Path(config.run.model_dir).glob("logs/plugins/profile/*/*.xplane.pb")
    return path


def test_steps_are_profiled(profile: Path) -> None:
    content = profile.read_bytes()
    assert b"Conv2DBackpropFilter" in content
    assert b"__inference_train_function" in content


def test_tensorboard_shows_the_profile(profile: Path) -> None:
    pytest.importorskip("tensorboard_plugin_profile", reason="needs requirements-profile.txt")
    events = json.loads(as_tensorboard_shows(profile))["traceEvents"]
    assert any("Conv2DBackpropFilter" in event.get("name", "") for event in events)


def as_tensorboard_shows(profile: Path) -> str:
    """The trace viewer's data, by the plugin that its page is made with."""
    newer = importlib.util.find_spec("xprof") is not None
    plugin = "xprof" if newer else "tensorboard_plugin_profile"
    convert = importlib.import_module(f"{plugin}.convert.raw_to_tool_data")
    return convert.xspace_to_tool_data([str(profile)], "trace_viewer" if newer else "trace_viewer^", {})[0]


def profiled(monkeypatch: pytest.MonkeyPatch, start: int, ends: list[int], first: int, last: int) -> str:
    """What a profiler does over calls that end with these steps."""
    done: list[str] = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda logs: done.append("start"))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: done.append("stop"))
    profiler = Profiler("logs", start, first, last)
    before = start
    for end in ends:
        done.append(str(end))
        profiler.on_steps(before, end, {})
        before = end
    profiler.on_train_end()
    return " ".join(done)


def test_calls_of_several_steps_are_profiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert profiled(monkeypatch, 0, [1, 2, 3, 4], 3, 3) == "1 2 start 3 stop 4"
    assert profiled(monkeypatch, 0, [10, 20, 30, 40], 25, 27) == "10 20 start 30 stop 40"
    assert profiled(monkeypatch, 20, [21, 22, 23], 2, 22) == "21 start 22 stop 23"


def test_an_early_end_closes_the_profile_and_none_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profiled(monkeypatch, 0, [1, 2], 2, 9) == "1 start 2 stop"
    assert not capsys.readouterr().out
    assert profiled(monkeypatch, 0, [1, 2], 8, 9) == "1 2"
    assert "nothing is profiled" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["5", "1,3", "4,3", "a,b", "2,3,4"])
def test_steps_that_cannot_be_profiled_are_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="--profile_steps"):
        Config("pretrain").replace(profile_steps=text)
