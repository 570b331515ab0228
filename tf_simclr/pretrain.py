"""`python -m tf_simclr.pretrain`: pretraining (Sec. 2), with the online classifier when labels exist."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "pretrain",
    "pretrain an encoder on unlabelled images; labels only feed the online classifier",
    "data views augmentation encoder head objective optimization probe checkpoints devices run".split(),
    {},
)


def pretrain(config: Config) -> None:
    from tf_simclr import inputs, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.protocols import predictions, preview, results
    from tf_simclr.runs import build
    from tf_simclr.training import probe

    if config.probe.preview_views:
        return preview.preview_views(config)
    strategy = strategies.set_up(config)
    source = inputs.train_source(config)
    config = inputs.with_fitting_batch(config, source.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    test = inputs.optional_eval_source(config)
    steps = config.steps(source.num_examples)
    with strategy.scope():
        model = build.simclr(config, 0 if source.multi_label else source.num_classes, steps)
    runs.initialize_encoder(model, config)
    run.write_data(source)
    training.print_plan(run, source, steps, model, strategy)

    batches = inputs.pretraining_batches(config, source, model.augmentations.num_uniforms)
    speed = training.fit(model, batches, steps, run, probe.watchers(config, model, steps, run))

    preview.keep(run, source)
    accuracy = predictions.of_online_classifier(run, model, test)
    results.conclude(run, steps.total, speed, **accuracy)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, pretrain, arguments)


if __name__ == "__main__":
    sys.exit(main())
