"""No protocol chooses by, or trains on, what it tests on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tf_simclr import finetune, knn, label_efficiency, linear_eval, pretrain
from tf_simclr.config import Config
from tf_simclr.config.groups import Data
from tf_simclr.errors import UsageError
from tf_simclr.inputs import splits


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
    found = splits.of_protocol(Data(dataset="dtd", train_split=train, eval_split=test))
    assert found.validation == validation


def test_training_on_the_test_split_is_refused() -> None:
    wanted = Data(dataset="dtd", train_split="train+test")
    with pytest.raises(UsageError, match="trained on"):
        splits.of_protocol(wanted)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "train"),
        ("train+test", "test"),
        ("train[:10%]", "train[:10%]"),
        ("train", "train[90%:]"),
        ("train[:]", "train[90%:]"),
        ("all", "test"),
        ("train", "all"),
    ],
)
def test_a_split_that_is_trained_on_is_not_tested_on(train: str, test: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--eval_split={test}: ")):
        splits.require_names_apart(train, test)


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("train[:90%]", "train[90%:]"), ("train+val", "test")]
)
def test_splits_that_are_apart_pass(train: str, test: str) -> None:
    splits.require_names_apart(train, test)


@pytest.mark.parametrize(
    "command", [knn.knn, linear_eval.linear_eval, finetune.finetune, label_efficiency.label_efficiency]
)
def test_no_evaluation_trains_on_what_it_tests_on(
    tiny: Callable[..., Config], command: Callable[[Config], None]
) -> None:
    config = tiny(command.__name__, eval_split="train")
    with pytest.raises(UsageError, match="--eval_split=train: train is trained on"):
        command(config)


def test_a_probes_data_are_named_by_their_own_flag(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match=r"^--probe_dataset=folder:nope: there is no such folder"):
        pretrain.pretrain(tiny(probe_epochs=1, probe_dataset="folder:nope"))


def test_a_probe_does_not_train_on_what_it_tests_on(tiny: Callable[..., Config]) -> None:
    config = tiny(probe_epochs=1, probe_eval_split="train")
    with pytest.raises(UsageError, match=r"--probe_eval_split=train: train is .*--probe_train_split=train"):
        pretrain.pretrain(config)
