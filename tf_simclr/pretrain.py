"""`python -m tf_simclr.pretrain`: pretraining (Sec. 2), with the online classifier when labels exist."""

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
    from tf_simclr.protocols import predictions, preview, results
    from tf_simclr.runs import build, texts
    from tf_simclr.training import between_epochs, collapse, probe, validation

_VIEWS, _RUN = "data views augmentation", "probe preview checkpoints devices profile run"
COMMAND = Command(
    "pretrain",
    "pretrain an encoder on unlabelled images; labels only feed the online classifier",
    f"{_VIEWS} encoder head method optimization extension memory {_RUN}".split(),
    {},
)


def pretrain(config: Config) -> dict[str, Any] | None:
    """Pretrains and returns result.json; with --preview_views only draws."""
    if config.preview.preview_views:
        preview.preview_views(config)
        return None
    strategy = strategies.set_up(config)
    source = inputs.pretraining_source(config)
    config.method.check_data(source.num_examples)
    captions = config.method.read_captions(source)
    config = inputs.with_fitting_batch(config, source.num_examples)
    build.augmentations(config)  # what is wrong with them is said before there is a folder
    run = runs.RunFolder.open(config, COMMAND)
    test = inputs.optional_eval_source(config)
    steps = config.steps(source.num_examples)
    with strategy.scope():
        num_classes = 0 if source.multi_label else source.num_classes
        model = build.pretraining(config, num_classes, steps, source.num_examples, captions)
    runs.initialize_encoder(model, config)
    run.write_data(source)
    run.keep_listing(source)
    texts.keep_vocabulary(run, captions)
    training.print_plan(run, source, steps, model, strategy)

    batches = inputs.fed_batches(config, source, model)
    probes = probe.watchers(config, model, steps, run)
    epochs = between_epochs.watchers(run.config, model, source, steps)
    spread = collapse.watchers(config, model, source, steps, run)
    held_out = validation.watchers(config, model, source, test, steps, run)
    beside = (epochs, probes, spread, held_out)
    speed = training.fit(
        model, batches, steps, run, lambda start: [one for watchers in beside for one in watchers(start)]
    )

    preview.keep(run, source)
    accuracy = predictions.of_online_classifier(run, model, test)
    return results.conclude(run, steps.total, speed, **accuracy)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, pretrain, arguments)


if __name__ == "__main__":
    sys.exit(main())
