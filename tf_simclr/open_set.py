"""`python -m tf_simclr.open_set`: a classifier that finds unknown classes (ORE, arXiv:2103.02603)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config, Steps
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    from tf_simclr import data, inputs, models, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.inputs import known_classes, labelled
    from tf_simclr.models import open_set as open_set_model
    from tf_simclr.protocols import adding, identification, results
    from tf_simclr.runs import build

_OWN = "labels open_set"
COMMAND = Command(
    "open_set",
    "train a classifier of known classes, and find images of the unknown ones",
    f"data views augmentation encoder head optimization extension {_OWN} checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_epochs": 60,
    },
)


def open_set(config: Config) -> dict[str, Any]:
    """Trains on the known classes, or on one more, and tests on all; returns result.json."""
    adds = bool(config.open_set.add_class)
    config = adding.as_base(config) if adds else config
    strategy = strategies.set_up(config)  # before the first tensor, where several workers must meet
    base = runs.load_run(config.checkpoints.checkpoint) if adds else None
    world = _world(config, base)
    config = inputs.with_fitting_batch(config, world.train.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    steps = config.steps(world.train.num_examples)
    with strategy.scope():
        model = _model(config, world.train.num_classes, steps)
        runs.initialize_encoder(model, config)
        if base is not None:
            adding.take_over(model, base, config.checkpoints.checkpoint)
    _write_data(run, world)
    training.print_plan(run, world.train, steps, model, strategy)
    _print_world(world)

    speed = training.fit(model, inputs.training_batches(config, world.train, model.num_uniforms), steps, run)
    found = {"known_classes": list(world.train.class_names), **identification.identify(run, model, world)}
    if base is not None:
        found |= adding.before_and_after(config, base.logits, model, world.test_known)
    return results.conclude(run, steps.total, speed, num_labels=world.train.num_examples, **found)


def _world(config: Config, base: runs.LoadedRun | None) -> known_classes.OpenWorld:
    """What is trained, held out and tested; of a run with one more class, its exemplars are trained on."""
    wanted = config.open_set
    train, test = inputs.train_and_test_sources(config)
    if base is None:
        known, flag = known_classes.numbers_of(wanted.known_classes, train, "known_classes"), "known_classes"
    else:
        known, flag = adding.known_with(config, base, train), "add_class"
    known_classes.require_open(known, train, flag)
    world = known_classes.world(
        labelled.subset(train, config.labels, config.run.seed),
        test,
        known,
        _fitted_by(wanted.validation_unknowns, known, train),
        config.run.seed,
    )
    if base is not None:
        world = world._replace(train=adding.exemplars(world.train, wanted.exemplars, config.run.seed))
    return world


def _fitted_by(classes: str, known: Sequence[int], source: data.Source) -> list[int]:
    """The unknown classes that images are held out of.

    Raises:
        UsageError: one is known.
    """
    if not classes:
        return [number for number in range(source.num_classes) if number not in known]
    chosen = known_classes.numbers_of(classes, source, "validation_unknowns")
    if set(chosen) & set(known):
        raise UsageError(f"--validation_unknowns={classes}: one of them is known; give unknown classes")
    return chosen


def _model(config: Config, num_classes: int, steps: Steps) -> models.OpenSet:
    wanted = config.open_set
    clustering = open_set_model.Clustering(
        weight=wanted.clustering_weight,
        margin=wanted.clustering_margin,
        norm=wanted.clustering_norm,
        queue_size=wanted.features_per_class,
        start_step=wanted.clustering_start_step,
        between_steps=wanted.prototype_steps,
        momentum=wanted.prototype_momentum,
    )
    kind = functools.partial(models.OpenSet, clustering=clustering)
    return build.compiled(build.classifier(config, num_classes, kind), config, steps)


def _write_data(run: runs.RunFolder, world: known_classes.OpenWorld) -> None:
    """What is trained on and what is held out, the latter with what it stands for."""
    run.write_data(world.train)
    run.keep_listing(world.train)
    run.write_labelled_ids(world.train)
    held_out = [*world.validation_known.names(), *world.validation_unknown.names()]
    run.write("validation_ids.txt", "".join(f"{name}\n" for name in held_out))


def _print_world(world: known_classes.OpenWorld) -> None:
    print(
        f"  known: {', '.join(world.train.class_names)}\n"
        f"  held out to fit by: {world.validation_known.num_examples:,} known images, "
        f"{world.validation_unknown.num_examples:,} unknown; tested on: {world.test_known.num_examples:,} "
        f"known, {world.test_unknown.num_examples:,} unknown",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, open_set, arguments)


if __name__ == "__main__":
    sys.exit(main())
