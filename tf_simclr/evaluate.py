"""`python -m tf_simclr.evaluate`: accuracy of the classifier that a run, or an import, already has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    from tf_simclr import inputs, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.protocols import predictions, repeats, results

COMMAND = Command(
    "evaluate",
    "accuracy of the classifier that the run of --checkpoint has",
    "data encoder head repeats comparison checkpoints devices run".split(),
    {},
)


def evaluate(config: Config) -> dict[str, Any]:
    config.require_checkpoint()
    if config.repeats.seeds:
        raise UsageError("--seeds: evaluating a classifier draws nothing; give the seeds to what trains it")
    return repeats.over_seeds(config, COMMAND, evaluate_once)


def evaluate_once(config: Config) -> dict[str, Any]:
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    loaded = runs.load_run(config.checkpoints.checkpoint)
    source = inputs.eval_source(config)
    training.print_census(source)
    loaded.require_classes(source)
    loaded.warn_of_training_images(source, config.data.data_dir)
    run.write_data(source)
    training.print_held_out(run, source)

    accuracy = predictions.of_classifier(run, loaded.logits, source)
    return results.conclude(run, loaded.step, **accuracy)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, evaluate, arguments)


if __name__ == "__main__":
    sys.exit(main())
