"""`python -m tf_simclr.knn`: k-nearest-neighbour accuracy of h (Wu et al., 2018)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

COMMAND = Command(
    "knn",
    "classify test images by their nearest training images, by cosine of h, k = 20 and 200",
    "data encoder head repeats checkpoints devices run".split(),
    {},
)


def knn(config: Config) -> None:
    if config.repeats.seeds and config.checkpoints.checkpoint:
        raise UsageError(
            "--seeds: k-NN of a checkpoint draws nothing, every seed gives the same; leave it out"
        )
    from tf_simclr.protocols import repeats

    repeats.over_seeds(config, COMMAND, knn_once)


def knn_once(config: Config) -> None:
    from tf_simclr import inputs, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation.features import encoder_sha256
    from tf_simclr.protocols import outcome
    from tf_simclr.runs import loading

    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    bank, queries = inputs.train_and_test_sources(config)
    encoder, head, step = loading.frozen_parts(config)
    run.write_data(queries)

    before = encoder_sha256(encoder)
    accuracy = outcome.nearest_neighbours(run, encoder, bank, queries, head)
    after = encoder_sha256(encoder)
    outcome.require_unchanged(before, after)
    outcome.conclude(run, step, encoder_sha256_before=before, encoder_sha256_after=after, **accuracy)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, knn, arguments)


if __name__ == "__main__":
    sys.exit(main())
