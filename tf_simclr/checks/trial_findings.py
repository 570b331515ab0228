"""What a trial of a planned run shows: host against step, how long the run takes, and its first loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from tf_simclr import lookup
from tf_simclr.checks import limits
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.checks.trial import Trial
from tf_simclr.methods import Method
from tf_simclr.methods.simclr import SimCLR


def speed(run: Planned, tried: Trial) -> Iterator[Finding]:
    """Images a second of host and step, and how long the run takes by them."""
    share_cores = not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
    slower = min(tried.host, tried.step)
    both = 1 / (1 / tried.host + 1 / tried.step) if share_cores else slower
    hours = run.steps.total * run.batch / both / 3600
    rates = (
        f"the host makes {tried.host:,.0f} images a second, the step takes {tried.step:,.0f} in batches of "
        f"{tried.images:,}"
    )
    figures = {"host_images_per_second": tried.host, "step_images_per_second": tried.step, "hours": hours}
    yield Finding(NOTE, f"{rates}: {_duration(hours)} for {run.steps.total:,} steps", figures)
    helped = run.config.data.cache_dataset or run.config.devices.data_service
    if tried.host < limits.SLOW_HOST.value * tried.step and not helped:
        idle = 100 * (1 - tried.host / tried.step)
        yield Finding(
            WARNING,
            f"--cache_dataset=false: the step waits {idle:.0f} % of its time for the host; --cache_dataset "
            "decodes once, --data_service takes other machines",
            {"idle": idle / 100},
        )


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"about {hours / 24:,.0f} days"
    return f"about {hours:.1f} hours" if hours >= 1 else f"about {60 * hours:.1f} minutes"


def first_loss(run: Planned, tried: Trial) -> Iterator[Finding]:
    """The loss of the run's first weights, beside that of knowing nothing where it has a closed form."""
    method = run.config.method
    measured, expected = tried.first[method.figures[0]], _knowing_nothing(method, tried.images)
    said = f"first loss, of {tried.images:,} images: {measured:.4g}"
    if not math.isfinite(measured):
        advice = "look at --precision, --temperature and --checkpoint"
        yield Finding(WASTED, f"{said}; {advice}", {"first_loss": str(measured)})
    elif expected is None:
        yield Finding(NOTE, said, {"first_loss": measured})
    else:
        said += f"; knowing nothing gives {expected.term} = {expected.value:.4g}"
        figures = {"first_loss": measured, "expected_loss": expected.value}
        excess = (measured - expected.value) / expected.directions
        if excess * expected.temperature > limits.FIRST_LOSS.value:
            advice = "z is long, or spread too far; give --hidden_norm, or raise --temperature"
            yield Finding(WARNING, f"--temperature={expected.temperature:g}: {said}; {advice}", figures)
        else:
            yield Finding(NOTE, said, figures)


class _Ignorance(NamedTuple):
    """The loss where all similarities are equal: its term, its value, and of how many cross entropies."""

    term: str
    value: float
    directions: int
    temperature: float


def _knowing_nothing(method: Method, images: int) -> _Ignorance | None:
    """Of N images; Eq. 1 has log(2N-1), which our scale counts twice."""
    if not isinstance(method, SimCLR):
        return None
    name, _ = lookup.parse("objective", method.objective)
    if name == "nt_xent":
        return _Ignorance("2 log(2N-1)", 2 * math.log(2 * images - 1), 2, method.temperature)
    return _Ignorance("log(N)", math.log(images), 1, method.temperature) if name == "info_nce" else None
