"""What the flags of a planned run say against each other, against its data, and against what is published."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tf_simclr.checks import limits
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.image_size import shorter_side
from tf_simclr.methods.simclr import SimCLR


def plan(run: Planned) -> Iterator[Finding]:
    """What will be done, as flags make it."""
    epochs = run.steps.total * run.batch / run.source.num_examples
    yield Finding(
        NOTE,
        f"{run.steps.total:,} steps of {run.batch:,} images ({epochs:.3g} epochs), warm-up "
        f"{run.steps.warmup:,}, peak rate {run.peak_rate:.3g} ({run.config.optimization.optimizer})",
        {"steps": run.steps.total, "peak_rate": run.peak_rate},
    )


def length(run: Planned) -> Iterator[Finding]:
    """No step at all, or a warm-up that takes most of them."""
    total, warmup = run.steps.total, run.steps.warmup
    if not total:
        yield Finding(WASTED, "--train_epochs=0: nothing is trained; give epochs, or --train_steps")
    elif warmup >= total:
        yield Finding(
            WASTED,
            f"--warmup_epochs={run.config.optimization.warmup_epochs:g}: its {warmup:,} steps outlast the "
            f"{total:,} of the run, whose rate never reaches its peak; lower it, or train longer",
        )
    elif warmup > limits.LONG_WARMUP.value * total:
        yield Finding(
            WARNING,
            f"--warmup_epochs={run.config.optimization.warmup_epochs:g}: is {100 * warmup / total:.0f} % of "
            "the run; the paper's is 1 to 10 %",
        )


def batch(run: Planned) -> Iterator[Finding]:
    """More images a step than there are."""
    images = run.source.num_examples
    if run.batch > images:
        yield Finding(
            WASTED,
            f"--train_batch_size={run.batch}: holds each of the {images:,} images {run.batch / images:.3g} "
            f"times, for a contrastive loss as its own negative; {1 << (images.bit_length() - 1)} will do",
        )


def rate(run: Planned) -> Iterator[Finding]:
    """A peak rate beyond what is published for the optimizer, or below what the paper found to be too low."""
    train = run.config.optimization
    said = f"--learning_rate={train.learning_rate:g} --learning_rate_scaling={train.learning_rate_scaling}"
    peak = f"{said}: the peak rate of {train.optimizer} is {run.peak_rate:.3g}"
    papers = 0.075 * math.sqrt(run.batch)  # App. B.1
    if run.peak_rate > _highest(run, papers):
        yield Finding(WARNING, f"{peak} at batch {run.batch:,}; {_highest(run, papers):.3g} or less is usual")
    is_low = run.peak_rate < limits.LOW_LARS_RATE.value * papers
    if train.optimizer == "lars" and isinstance(run.config.method, SimCLR) and is_low:
        yield Finding(
            WARNING,
            f"{peak}, low for a batch of {run.batch:,} (Table B.1); --learning_rate_scaling=sqrt "
            f"--learning_rate=0.075 makes it {papers:.2g}",
        )


def _highest(run: Planned, papers: float) -> float:
    """Peak rate above which a run of this optimizer and batch is unusual."""
    if run.config.optimization.optimizer == "lars":
        return limits.HIGH_LARS_RATE.value * papers
    if run.config.optimization.optimizer in ("momentum", "nesterov"):
        return limits.HIGH_SGD_RATE.value * run.batch / 256
    return limits.HIGH_ADAM_RATE.value


def temperature(run: Planned) -> Iterator[Finding]:
    """Outside of what Table 5 tries, of z of length 1."""
    value = getattr(run.config.method, "temperature", None)
    if value is None or not getattr(run.config.method, "hidden_norm", True):
        return
    low, high = limits.LOWEST_TEMPERATURE.value, limits.HIGHEST_TEMPERATURE.value
    if not low <= value <= high:
        yield Finding(
            WARNING,
            f"--temperature={value:g}: Table 5 falls off at {low:g} and at {high:g}; 0.1 to 0.5 is usual",
        )


def stem(run: Planned) -> Iterator[Finding]:
    """Another one than for images of this size."""
    side, encoder = shorter_side(run.config.data.image_size), run.config.encoder
    if encoder.encoder != "resnet":
        return
    if run.config.stem == "imagenet" and side < limits.SMALL_FOR_IMAGENET_STEM.value:
        yield Finding(
            WARNING,
            f"--stem=imagenet: leaves {max(1, side // 4)} px of {side} to the first block; --stem=cifar "
            "keeps them all (App. B.9)",
        )
    if run.config.stem == "cifar" and side >= limits.LARGE_FOR_CIFAR_STEM.value:
        yield Finding(
            WARNING,
            f"--stem=cifar: at {side} px costs 16 times the memory and time of --stem=imagenet",
        )
