"""Values that no machine could hold, or nobody means, are refused while the flags are read."""

from __future__ import annotations

import importlib

import pytest

from tf_simclr.config import Config, flags
from tf_simclr.errors import UsageError


@pytest.mark.parametrize(
    ("command", "flag", "says"),
    [
        ("pretrain", "--image_size=8x100000", "must be at most 4096"),
        ("pretrain", f"--image_size={'9' * 5000}", "give a number of pixels"),
        ("pretrain", "--width_multiplier=1e9", "at most 16"),
        ("pretrain", "--width_multiplier=1e-9", "at least 0.03125"),
        ("pretrain", "--proj_out_dim=1000000000", "at most 65536"),
        ("pretrain", "--num_proj_layers=1000000000", "at most 32"),
        ("pretrain", "--train_batch_size=1000000000", "at most 131072"),
        ("pretrain", "--eval_batch_size=1000000000", "at most 65536"),
        ("pretrain", "--shuffle_buffer=1000000000", "at most 10000000"),
        ("pretrain", "--temperature=1e-300", "tells from"),
        ("pretrain", "--temperature=1e-9", "at least 0.0001"),
        ("pretrain", "--center_crop_fraction=1e-6", "give 0, or at least 0.1"),
        ("pretrain", "--warmup_epochs=1e300", "at most"),
        ("pretrain", "--learning_rate=1e300", "at most"),
        ("pretrain", f"--checkpoint_steps=0x{'f' * 5000}", "must be at most 2147483647"),
        ("pretrain", f"--profile_steps=2,{'9' * 5000}", "give FIRST,LAST"),
        ("pretrain", "--model_dir=a\nb", "control characters"),
        ("pretrain", "--data_dir=\udcff", "UTF-8"),
        ("linear_eval", "--seeds=9999999999", "whole numbers"),
        ("finetune", "--sweep_learning_rates=0.1,,1", "numbers from 0 on"),
        ("finetune", "--sweep_weight_decays=nan", "numbers from 0 on"),
        ("label_efficiency", "--draws_labels_per_class=0", "numbers of labels"),
        ("label_efficiency", "--num_draws=1000000000", "at most 10000"),
        ("knn", f"--k={'9' * 5000}", "whole numbers"),
        ("search", f"--clusters={'9' * 5000}", "a number of clusters"),
        ("embed", f"--layer={'9' * 5000}", "the number of a layer"),
    ],
)
def test_a_value_beyond_all_bounds_is_refused(command: str, flag: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        flags.parse(importlib.import_module(f"tf_simclr.{command}").COMMAND, [flag])
    assert flag.split("=", maxsplit=1)[0].lstrip("-") in str(error.value)


@pytest.mark.parametrize("numbers", ["1e-4,3.16e-4,1", "0.1 , 1.", ".5", "1E-3,0"])
def test_numbers_are_read_as_people_write_them(numbers: str) -> None:
    assert Config("finetune").replace(sweep_weight_decays=numbers).sweep.sweep_weight_decays == numbers
