"""What the tests of the protocols share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.small_runs import Make
from tf_simclr.config import Config
from tf_simclr.reports import plots


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """t-SNE would take most of an evaluation's time."""
    monkeypatch.setattr(plots, "MOST_POINTS", 40)


@pytest.fixture(scope="session")
def evaluating(tiny: Make, pretrained: Config) -> Make:
    """Makes configurations of an evaluation of the tiny pretraining."""

    def make(command: str, **changes: Any) -> Config:
        defaults = {"checkpoint": pretrained.run.model_dir, "optimizer": "nesterov", "weight_decay": 0.0}
        return tiny(command, **{**defaults, **changes})

    return make
