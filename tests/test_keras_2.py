"""`import tf_simclr` where TensorFlow has chosen Keras 3: one line instead of errors from the depths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.environ.get("TF_SIMCLR_NEWER_PYTHON", sys.executable)
NEWER = pytest.mark.skipif(
    sys.version_info < (3, 12) and sys.executable == PYTHON,
    reason="needs a Python with Keras 3: set TF_SIMCLR_NEWER_PYTHON",
)
WAY_OUT = "TF_USE_LEGACY_KERAS=1 in the environment and restart Python"
WORKS = "from tf_simclr import augment; augment.ColorDistortion(); print('works')"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, env=env | environment, capture_output=True, text=True, check=False
    )


@NEWER
@pytest.mark.parametrize(
    ("first", "environment"),
    [
        ("import tensorflow as tf; tf.keras.Model", {}),
        pytest.param("import tensorflow", {}, marks=pytest.mark.slow),
        pytest.param("import keras", {}, marks=pytest.mark.slow),
        ("pass", {"TF_USE_LEGACY_KERAS": "0"}),
    ],
)
def test_keras_3_is_refused_with_the_way_out(first: str, environment: dict[str, str]) -> None:
    done = run(f"{first}\nimport tf_simclr", **environment)
    assert done.returncode == 1
    assert WAY_OUT in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("places", "versions", "words"),
    [
        (["keras/_tf_keras", "tensorflow"], {"keras": "3.5.0", "tf-keras": "2.16.0"}, WAY_OUT),
        (["tf_keras/api/_v2", "keras/_tf_keras"], {"keras": "3.5.0", "tf-keras": "2.16.0"}, ""),
        (["keras/_tf_keras"], {"keras": "2.15.0"}, ""),
        (["keras/_tf_keras"], {"keras": "3.5.0"}, "pip install tf-keras"),
    ],
)
def test_what_tensorflow_has_chosen_is_seen(places: list[str], versions: dict[str, str], words: str) -> None:
    """A stand-in for TensorFlow, imported before us, and for what is installed."""
    done = run(
        f"""
import importlib.metadata, sys, types

def version(name):
    if name in {versions}:
        return {versions}[name]
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version = version
sys.modules["tensorflow"] = types.SimpleNamespace(__path__={places})
import tf_simclr
"""
    )
    assert done.returncode == bool(words), done.stderr
    assert words in (done.stderr.splitlines() or [""])[-1]


@NEWER
@pytest.mark.slow
@pytest.mark.parametrize("first", ["import tf_simclr", "import os"])
def test_the_way_out_works(first: str) -> None:
    environment = {} if "tf_simclr" in first else {"TF_USE_LEGACY_KERAS": "1"}
    done = run(f"{first}, tensorflow, keras\n{WORKS}", **environment)
    assert done.stdout.endswith("works\n"), done.stderr
