"""`python -m tf_simclr.embed`: h, z or any head layer of every image, as .npz files with ids."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "embed",
    "write h, z or a layer of the projection head of every image to .npz, with file names or ids",
    "data encoder head embedding checkpoints devices run".split(),
    {},
)


def embed(config: Config) -> None:
    from tf_simclr import runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation.features import encoder_sha256
    from tf_simclr.protocols import embedding, outcome
    from tf_simclr.runs import loading

    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    encoder, head, step = loading.frozen_parts(config)

    before = encoder_sha256(encoder)
    written = embedding.embed(run, encoder, head)
    after = encoder_sha256(encoder)
    outcome.require_unchanged(before, after)
    outcome.conclude(
        run,
        step,
        encoder_sha256_before=before,
        encoder_sha256_after=after,
        num_eval_examples=sum(int(split["images"]) for split in written.values()),
        embeddings=list(written.values()),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, embed, arguments)


if __name__ == "__main__":
    sys.exit(main())
