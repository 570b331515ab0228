"""No protocol chooses by, or trains on, what it tests on."""

from __future__ import annotations

import pytest

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.training import splits


@pytest.mark.parametrize(
    ("train", "test", "validation"),
    [
        ("train", "", "validation"),
        ("train", "validation", ""),
        ("train+validation", "", ""),
        ("train", "test+validation", ""),
    ],
)
def test_a_validation_split_in_use_is_held_out_anew(train: str, test: str, validation: str) -> None:
    found = splits.of_protocol(Config("transfer").replace(dataset="dtd", train_split=train, eval_split=test))
    assert found.validation == validation


def test_training_on_the_test_split_is_refused() -> None:
    config = Config("transfer").replace(dataset="dtd", train_split="train+test")
    with pytest.raises(UsageError, match="trained on"):
        splits.of_protocol(config)
