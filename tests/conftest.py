"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
from tests.replicated import replicated  # noqa: F401
from tests.small_runs import pretrained, tiny  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def fresh_state() -> None:
    """Every test starts from the same seed, float type and policy, in whatever order and process it runs.

    A policy that was ever set, even to float32, goes before the float type: the commands set one.
    """
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    tf.keras.backend.set_floatx("float32")
    tf.keras.mixed_precision.set_global_policy(None)


@pytest.fixture
def golden() -> Path:
    """The folder of golden values that travel with the repository."""
    return ROOT / "tests" / "golden"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Path of something in ../shared; skips where it is absent, fails there under CI."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            message = f"needs ../shared/{relative}, which is not on this machine"
            if os.environ.get("TF_SIMCLR_REQUIRE_SHARED") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
