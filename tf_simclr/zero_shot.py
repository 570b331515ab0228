"""`python -m tf_simclr.zero_shot`: classes by what is said of them (CLIP, Radford et al., 2021, Sec. 3.1)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

with epy.lazy_imports():
    from tf_simclr import inputs, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.protocols import predictions, prompting, proof, results

COMMAND = Command(
    "zero_shot",
    "classify images by the prompts of a class that are nearest, with a run of pretrain --method=clip",
    "data encoder head prompting checkpoints devices run".split(),
    {},
)


def zero_shot(config: Config) -> dict[str, Any]:
    """Classifies the images of --eval_split and returns result.json."""
    config.require_checkpoint()
    strategies.set_up(config)
    loaded = runs.load_run(config.checkpoints.checkpoint)
    loaded.require_texts()
    source = inputs.eval_source(config)
    prompts = prompting.prompts(config, loaded.settings, source.class_names)
    run = runs.RunFolder.open(config, COMMAND)
    training.print_evaluation_plan(run)
    training.print_census(source)
    run.write_data(source)
    run.write_json("prompts.json", prompts)

    with proof.frozen(loaded.encoder, loaded.projection_head) as hashes:
        logits = prompting.classifier(loaded, prompts.values())
        accuracy = predictions.of_classifier(run, logits, source)
    return results.conclude(run, loaded.step, **hashes, chance=100 / source.num_classes, **accuracy)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, zero_shot, arguments)


if __name__ == "__main__":
    sys.exit(main())
