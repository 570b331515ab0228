"""`make quickstart` as a new user runs it, and what it must show: pretraining pays when labels are few."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_quickstart(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "quickstart", f"PYTHON={sys.executable}", f"RUNS={tmp_path}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "label_efficiency" / "result.json").read_text())["mean_and_std"]
    pretrained, untrained, pixels = (
        table[f"{name}, 2"][0] for name in ("pretrained", "untrained", "raw pixels")
    )
    assert pretrained >= untrained + 25
    assert pretrained >= pixels + 5
    for run in ("pretrain", "linear_eval", "finetune", "label_efficiency"):
        assert (tmp_path / run / "report.html").stat().st_size > 10_000
    for model in ("encoder", "projection_head", "classifier"):
        assert list((tmp_path / "export" / model).glob("[0-9]*/saved_model.pb"))
    assert "raw pixels" in done.stdout
    assert "All log messages before absl" not in done.stderr
    assert not re.search(r"^I\d{4} ", done.stderr, re.M)
    assert str(tmp_path / "export") in done.stdout
