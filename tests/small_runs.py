"""Small runs on the digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tf_simclr import pretrain
from tf_simclr.config import Config

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
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Makes a small configuration of a command, in a run folder of its own, with options changed."""

    def make(command: str = "pretrain", **changes: Any) -> Config:
        folder = str(tmp_path_factory.mktemp(command))
        return Config(command).replace(**{**TINY, "model_dir": folder, **changes})

    return make


@pytest.fixture(scope="session")
def pretrained(tiny: Callable[..., Config]) -> Config:
    """A finished tiny pretraining."""
    config = tiny()
    pretrain.pretrain(config)
    return config
