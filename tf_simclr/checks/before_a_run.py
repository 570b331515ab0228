"""`doctor --flagfile=...`: what a pretraining will meet, found out before it is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tf_simclr.checks import (
    data_findings,
    device_findings,
    flag_findings,
    planned,
    trial,
    trial_findings,
    view_findings,
)
from tf_simclr.checks.findings import WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.config import Config

Check = Callable[[Planned], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    flag_findings.plan,
    flag_findings.length,
    flag_findings.batch,
    flag_findings.rate,
    flag_findings.temperature,
    flag_findings.stem,
    data_findings.sizes,
    data_findings.bad_images,
    data_findings.types,
    data_findings.classes,
    data_findings.duplicates,
    view_findings.near_uniform,
    device_findings.precision,
    device_findings.memory,
    device_findings.feed,
    device_findings.disk,
)
TRIED = (trial_findings.speed, trial_findings.first_loss)


def findings(config: Config) -> list[Finding]:
    """All findings of a pretraining by `config`; its trial is left out where its memory does not suffice.

    Raises:
        UsageError: what the pretraining itself would refuse.
    """
    run = planned.of(config)
    found = [finding for check in CHECKS for finding in check(run)]
    fits = all(finding.level != WASTED for finding in device_findings.memory(run))
    if fits and run.steps.total and config.doctor.trial_seconds:
        tried = trial.of(run, config.doctor.trial_seconds)
        found += [finding for check in TRIED for finding in check(run, tried)]
    return found
