"""The few lines that a command prints before it starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tf_simclr.config import Steps
from tf_simclr.data import Source, exif
from tf_simclr.data.records import IndexedSource
from tf_simclr.runs.build import describe_encoder
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.prefixes import saved_in

_LOOKED_AT = 8  # images of a folder, for their EXIF orientation


def print_plan(
    run: RunFolder, source: Source, steps: Steps, model: tf.keras.Model, strategy: tf.distribute.Strategy
) -> None:
    """Says what will be trained, on what, for how long, and where it is kept."""
    config = run.config
    classes = f"{source.num_classes} classes" if source.num_classes else "no labels"
    batch = config.optimization.train_batch_size
    epochs = steps.total * batch / source.num_examples
    print(
        f"{config.command}: {source.name} {source.split}, {source.num_examples:,} images, {classes}, "
        f"{config.data.image_size} px"
    )
    print_census(source)
    print(
        f"  {model.encoder.describe()}, {parameters(model.encoder.variables):,} weights; "
        f"{parameters(model.trainable_variables):,} trained; {config.devices.precision}\n"
        f"  {steps.total:,} steps of {batch:,} images ({epochs:.4g} epochs), warm-up {steps.warmup:,}; "
        f"{config.optimization.optimizer}; {_replicas(strategy)}\n"
        f"  starts from {_start(run)}\n"
        f"  run folder {run.path}",
        *(f"\n  warning: {line}" for line in _warnings(steps, batch, source.num_examples)),
        sep="",
        flush=True,
    )
    print_held_out(run, source)


def print_held_out(run: RunFolder, source: Source) -> None:
    """Says so where --holdout made the split test of the data set."""
    if source.held_out:
        share = f"{100 * run.config.data.holdout:g} % of each class"
        print(
            f"  no split test: {share} ({len(source.held_out):,} images) are held out, --holdout", flush=True
        )


def _start(run: RunFolder) -> str:
    if saved_in(run.checkpoints):
        longer = [
            f"; at step {step:,} extended from {old:,} to {new:,}" for step, old, new in run.config.extended
        ]
        return "this run's own checkpoint" + "".join(longer)
    return run.config.checkpoints.checkpoint or "random weights"


def _warnings(steps: Steps, batch: int, images: int) -> Iterator[str]:
    """What trains, but hardly as it was meant."""
    if batch > images:
        yield (
            f"a batch of {batch:,} holds each of the {images:,} images {batch / images:.3g} times, in "
            "pretraining as its own negative; lower --train_batch_size"
        )
    if steps.warmup >= steps.total > 0 and steps.warmup:
        yield f"{steps.total:,} steps end within the warm-up of {steps.warmup:,}; lower --warmup_epochs"


def print_census(*sources: Source) -> None:
    """Says what folders hold and what of it is left out; nothing of other data sets."""
    for source in sources:
        if source.census:
            print(*(f"  {line}" for line in (*source.census.lines(source.split), *_turned(source))), sep="\n")
    print_bad_images(*sources)


def print_bad_images(*sources: Source) -> None:
    """Says which images are known to be bad."""
    for source in sources:
        if source.bad_images.rows:
            print(f"  {len(source.bad_images.rows):,} bad images are left out: {source.bad_images}")


def _turned(source: Source) -> Iterator[str]:
    """Whether --exif would change images: a few are looked at, of local folders."""
    if source.decoding.upright or not isinstance(source, IndexedSource) or "://" in source.name:
        return
    rows = np.unique(np.linspace(0, source.num_examples - 1, _LOOKED_AT).astype(np.int64))
    turned = sum(_orientation(source, row) != 1 for row in rows)
    if turned:
        yield (
            f"warning: {turned} of {len(rows)} images looked at are stored turned, and stay so; "
            "--exif=apply turns them upright"
        )


def _orientation(source: IndexedSource, row: int) -> int:
    try:
        return int(exif.orientation(source.read(tf.constant(row))))
    except tf.errors.OpError:  # a bad image
        return 1


def print_evaluation_plan(run: RunFolder) -> None:
    """Says what will be evaluated, how, and where the result is kept."""
    config = run.config
    print(
        f"{config.command}: {config.transfers.datasets or config.data.dataset}, {config.data.image_size} px\n"
        f"  {describe_encoder(config)} of {config.checkpoints.checkpoint or 'random weights'}; "
        f"{config.devices.precision}\n"
        f"  batches of {config.data.eval_batch_size:,} on one replica\n"
        f"  run folder {run.path}",
        flush=True,
    )


def parameters(variables: list[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


def _replicas(strategy: tf.distribute.Strategy) -> str:
    count = strategy.num_replicas_in_sync
    return f"{count} replica{'s' if count > 1 else ''}"
