"""`python -m tf_simclr.transfer`: logistic regression on frozen features, the l2 swept (App. B.8)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "transfer",
    "L-BFGS logistic regression on frozen features of each data set, its l2 chosen on validation images",
    "data encoder head transfers repeats checkpoints devices run".split(),
    {"center_crop_fraction": 1.0, "resize_first": True},
)


def transfer(config: Config) -> None:
    from tf_simclr.protocols import repeats

    repeats.over_seeds(config, COMMAND, transfer_once)


def transfer_once(config: Config) -> None:
    from tf_simclr import runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation.features import encoder_sha256
    from tf_simclr.protocols import outcome, transferring

    configs = transferring.dataset_configs(config)
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    encoder, step = runs.frozen_encoder(config)

    before = encoder_sha256(encoder)
    rows = [transferring.transfer(run, one, encoder, before) for one in configs]
    after = encoder_sha256(encoder)
    outcome.require_unchanged(before, after)
    print(transferring.table(rows))
    outcome.conclude(
        run, step, encoder_sha256_before=before, encoder_sha256_after=after, **transferring.as_result(rows)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, transfer, arguments)


if __name__ == "__main__":
    sys.exit(main())
