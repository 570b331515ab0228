"""Which of the bad images that a process has met end a run."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.bad_files import PNG
from tests.small_runs import Make
from tf_simclr.config import Config
from tf_simclr.data.bad_images import BadImages, Policy
from tf_simclr.data.records import MemorySource
from tf_simclr.inputs import bad_images


def _opened(config: Config, dataset: str) -> None:
    source = MemorySource(
        dataset, "train", "1", ["a"], images=[PNG] * 4, labels=np.zeros(4, int), ids=["i"] * 4
    )
    source.bad_images = BadImages(f"--dataset={dataset}", 4, Policy(skip=True, most=1))
    bad_images.watch(config, source)
    for name in ("one", "two"):
        source.bad_images.note(name, "empty", "drawn")


@pytest.mark.parametrize(
    ("flags", "opened", "ends"),
    [
        ({}, "digits", True),
        ({"probe_dataset": "probed", "probe_epochs": 1.0}, "probed", True),
        ({}, "an_earlier_command's", False),
    ],
)
def test_only_data_that_the_command_reads_end_it(
    flags: dict[str, object], opened: str, ends: bool, tiny: Make
) -> None:
    config = tiny(**flags)
    _opened(config, opened)
    assert (bad_images.over(config) is not None) == ends
