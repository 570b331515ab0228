"""`python -m tf_simclr.linear_eval`: a linear classifier on a frozen encoder (App. B.6)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "linear_eval",
    "train a linear classifier on a frozen encoder and test it",
    "data views encoder head optimization labels repeats checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_epochs": 90,
    },
)


def linear_eval(config: Config) -> None:
    from tf_simclr.protocols import linear, repeats

    repeats.over_seeds(config, COMMAND, lambda one: linear.linear_eval(one, COMMAND))


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, linear_eval, arguments)


if __name__ == "__main__":
    sys.exit(main())
