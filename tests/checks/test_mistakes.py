"""What TensorFlow raises where the user can help it is one line."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_simclr.checks import mistakes
from tf_simclr.config import Config
from tf_simclr.errors import Interrupted, UsageError


@pytest.mark.parametrize(
    "error",
    [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor of shape[9]")],
)
def test_too_much_for_the_memory_is_said(error: Exception) -> None:
    explained = mistakes.explained(error, Config("pretrain"))
    assert isinstance(explained, UsageError)
    assert "--train_batch_size" in str(explained)


def test_a_full_disk_is_not_a_full_memory() -> None:
    error = tf.errors.ResourceExhaustedError(None, None, "x; No space left on device")
    assert isinstance(mistakes.explained(error, Config("pretrain")), Interrupted)


def test_a_mistake_of_ours_is_not_explained_away() -> None:
    assert mistakes.explained(RuntimeError("a bug"), Config("pretrain")) is None
