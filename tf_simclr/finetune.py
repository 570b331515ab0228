"""`python -m tf_simclr.finetune`: fine-tuning on a fraction of the labels (App. B.5)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

_OWN = "labels freezing selection sweep repeats"
COMMAND = Command(
    "finetune",
    "train encoder and classifier on a fraction of the labels; from scratch without --checkpoint",
    f"data views encoder head optimization {_OWN} checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_epochs": 60,
        "zero_init_logits_layer": True,
    },
)


def finetune(config: Config) -> None:
    from tf_simclr.protocols import repeats, sweeping, tuning

    protocol = sweeping.sweep if config.sweep.sweep else tuning.finetune
    repeats.over_seeds(config, COMMAND, lambda one: protocol(one, COMMAND))


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, finetune, arguments)


if __name__ == "__main__":
    sys.exit(main())
