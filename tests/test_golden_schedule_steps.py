"""Total steps as the authors' code counts them (golden values)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tf_simclr.config import Config


def test_total_steps_equal_the_authors(golden: Path) -> None:
    values = np.load(golden / "schedule.npz")
    cases = sorted({name.split("_")[0] for name in values.files})
    assert cases
    for case in cases:
        config = Config("pretrain").replace(
            train_batch_size=int(values[f"{case}_batch_size"]), train_epochs=int(values[f"{case}_epochs"])
        )
        assert config.steps(int(values[f"{case}_num_examples"])).total == values[f"{case}_total_steps"]
