"""`python -m tf_simclr.label_efficiency`: what pretraining is worth when labels are few."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "label_efficiency",
    "compare a pretrained encoder with an untrained one, raw pixels and training from scratch",
    "data views encoder head optimization draws checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_batch_size": 64,
        "train_steps": 200,
    },
)


def label_efficiency(config: Config) -> None:
    from tf_simclr import inputs, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.protocols import comparison

    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    train, test = inputs.train_and_test_sources(config)
    encoder, step = runs.frozen_encoder(config)
    run.write_data(train)

    rows = comparison.compare(config, encoder, train, test)
    comparison.conclude(run, rows, step, test)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, label_efficiency, arguments)


if __name__ == "__main__":
    sys.exit(main())
