"""Small runs on the digits."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tf_simclr import pretrain
from tf_simclr.config import Config
from tf_simclr.errors import Interrupted
from tf_simclr.training import callbacks

Make = Callable[..., Config]
TINY = {
    "dataset": "digits",
    "image_size": 8,
    "resnet_depth": 18,
    "width_multiplier": 0.125,
    "train_batch_size": 64,
    "train_steps": 6,
    "warmup_epochs": 0.0,
    "proj_out_dim": 8,
    "use_flip": False,
    "checkpoint_steps": 3,
    "keep_checkpoint_max": 10,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a small configuration of a command, in a run folder of its own, with options changed."""

    def make(command: str = "pretrain", **changes: Any) -> Config:
        folder = str(tmp_path_factory.mktemp(command))
        return Config(command).replace(**{**TINY, "model_dir": folder, **changes})

    return make


@pytest.fixture(scope="session")
def pretrained(tiny: Make) -> Config:
    """A finished tiny pretraining."""
    config = tiny()
    pretrain.pretrain(config)
    return config


@contextlib.contextmanager
def stopped_at(stop: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM comes in the middle of step `stop` of the training within, which is to save it and end."""

    class Saver(callbacks.Saver):
        def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
            if step == stop:
                signal.raise_signal(signal.SIGTERM)
            super().on_steps(before, step, logs)

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", Saver)
        with pytest.raises(Interrupted, match=f"stopped and saved at step {stop} of"):
            yield


def folder_of(config: Config) -> Path:
    return Path(config.run.model_dir)


def result_of(config: Config) -> dict[str, Any]:
    return json.loads((folder_of(config) / "result.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


def write_images(folder: Path, counts: dict[str, int]) -> None:
    """Light and dark images in two classes."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for name, level in (("dark", 40), ("light", 200)):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = (level + rng.integers(-30, 30, [12, 12, 3])).astype(np.uint8)
                (folder / split / name / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())


def weights_of(run: Path) -> dict[str, np.ndarray]:
    """The model's variables in a run's newest checkpoint."""
    import tensorflow as tf

    from tf_simclr.runs import prefixes

    reader = tf.train.load_checkpoint(prefixes.find(str(run)))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_run(one: Path, other: Path) -> None:
    """Metrics and weights are equal to the bit."""
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)
