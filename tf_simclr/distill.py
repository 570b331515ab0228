"""`python -m tf_simclr.distill`: a student learns from a teacher (SimCLRv2, arXiv:2006.10029, Sec. 2)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config, Steps
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError, naming

with epy.lazy_imports():
    from tf_simclr import data, inputs, models, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.inputs import splits
    from tf_simclr.protocols import predictions, proof, results
    from tf_simclr.runs import build, checkpoints, prefixes

COMMAND = Command(
    "distill",
    "train a student on what the classifier of --teacher says of images, with labels or without",
    "data views encoder distillation optimization extension checkpoints devices run".split(),
    {},  # the pretraining's settings (SimCLRv2 Sec. 3)
    found=("head",),
)


def distill(config: Config) -> dict[str, Any]:
    """Trains the student and returns result.json.

    Raises:
        proof.FrozenEncoderMoved: the teacher is not what it was.
    """
    config = config.replace(proj_head_mode="none")  # a student has none (SimCLRv2 Sec. 3)
    strategy = strategies.set_up(config)
    source, test = inputs.train_source(config), inputs.optional_eval_source(config)
    with strategy.scope():
        teacher = _teacher(config, source, test)
    config = inputs.with_fitting_batch(config, source.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    steps = config.steps(source.num_examples)
    with strategy.scope():
        model = _student(config, teacher, steps)
    run.write_data(source, teacher.class_names)
    run.keep_listing(source)
    training.print_plan(run, source, steps, model, strategy)
    print(f"  taught by {teacher.encoder.describe()} of {config.distillation.teacher}, step {teacher.step:,}")

    with proof.unmoved("teacher", *_parts(teacher)) as hashes:
        _require_same_teacher(run, hashes["teacher_sha256_before"])
        speed = training.fit(model, inputs.training_batches(config, source), steps, run)
    accuracy = predictions.of_online_classifier(run, model, test)
    split = None if test is None else test.split
    stated = {"teacher": config.distillation.teacher, "teacher_top1": teacher.top1, **hashes}
    return results.conclude(run, steps.total, speed, **stated, **accuracy, eval_split=split)


def _teacher(config: Config, source: data.Source, test: data.Source | None) -> runs.LoadedRun:
    """The run of --teacher, frozen.

    Raises:
        UsageError: it has no classifier, or the images are not for it.
    """
    with naming("teacher", instead_of="checkpoint"):
        teacher = runs.load_run(config.distillation.teacher)
        teacher.require_classifier()
        for images in (source, test):
            if images is not None and images.num_classes:
                _require_one_label(images)
                teacher.require_classes(images)
    if config.data.image_size != teacher.config.data.image_size:
        raise UsageError(
            f"--image_size={config.data.image_size}: the classifier of --teacher is of images of "
            f"{teacher.config.data.image_size} px, and is shown the student's; leave it out"
        )
    if config.data.channels != teacher.config.data.channels:
        raise UsageError(
            f"--channels={config.data.channels}: the classifier of --teacher is of images of "
            f"{teacher.config.data.channels}, and is shown the student's; leave it out"
        )
    if config.distillation.label_weight and not source.num_classes:
        raise UsageError(
            f"--label_weight={config.distillation.label_weight}: --dataset={source.name} has no labels; "
            "leave it out"
        )
    if test is not None:
        splits.require_apart(source, test)
        teacher.warn_of_training_images(test, config.data.data_dir)
    for part in _parts(teacher):
        part.trainable = False
    return teacher


def _require_one_label(images: data.Source) -> None:
    if images.multi_label:
        raise UsageError(f"--dataset={images.name} has several labels an image; --teacher gives it one class")


def _parts(teacher: runs.LoadedRun) -> list[Any]:
    """What the teacher's logits depend on."""
    head = [teacher.projection_head] if teacher.head_layer else []
    return [teacher.encoder, *head, teacher.classifier]


def _student(config: Config, teacher: runs.LoadedRun, steps: Steps) -> models.Distillation:
    """Random weights; with --checkpoint its encoder's."""
    kind = functools.partial(
        models.Distillation,
        teacher=teacher.logits,
        temperature=config.distillation.distillation_temperature,
        label_weight=config.distillation.label_weight,
    )
    classes = teacher.require_classifier().num_classes
    model = build.compiled(build.classifier(config, classes, kind), config, steps)
    if config.checkpoints.checkpoint:
        prefix = prefixes.find(config.checkpoints.checkpoint)
        checkpoints.load_parts(prefix, {"encoder": model.encoder}, config)
    return model


def _require_same_teacher(run: runs.RunFolder, sha256: str) -> None:
    """UsageError where the run began with another teacher; teacher.json says which."""
    before = run.read_json("teacher.json") if run.checkpoints.exists() else {}
    if before.get("sha256", sha256) != sha256:
        raise UsageError(
            f"--teacher={run.config.distillation.teacher} holds other weights than when the run in "
            f"--model_dir={run.config.run.model_dir} began; give another --model_dir"
        )
    run.write_json("teacher.json", {"teacher": run.config.distillation.teacher, "sha256": sha256})


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, distill, arguments)


if __name__ == "__main__":
    sys.exit(main())
