"""NT-Xent over virtual devices, in a process of its own: TensorFlow's devices are fixed at its start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_equal_one_device(replicas: int) -> None:
    program = Path(__file__).with_name("replicas_against_one.py")
    result = subprocess.run(
        [sys.executable, str(program), str(replicas)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "a local loss differs" in result.stdout
