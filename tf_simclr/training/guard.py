"""Ends a training at a step that is not finite, before anything of it is saved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from tf_simclr.config import Config, Steps
from tf_simclr.errors import Diverged
from tf_simclr.models.finite import Broken
from tf_simclr.runs import ledger, verification
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import StepCallback, read_at


class Guard(StepCallback):
    """Asks the model's watch at the end of epochs, before checkpoints, and where a metric says so.

    It keeps the run's ledger. The first of the callbacks, so that the others see good steps alone.
    """

    def __init__(self, run: RunFolder, start_step: int, steps: Steps) -> None:
        super().__init__(start_step)
        self._run, self._steps = run, steps
        found = ledger.read(run.checkpoints.parent) or ledger.Ledger(saved_step=start_step)
        self._ledger = found
        self._earlier = found.skipped_until(start_step)
        self._skipped = 0
        ledger.write(run.path, found)

    def on_train_begin(self) -> None:
        most = self._run.config.optimization.skip_nonfinite_steps
        self.model.watch().allow(max(most - self._earlier, 0))

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        unwell = [name for name, value in logs.items() if not math.isfinite(value)]
        if unwell or read_at(before, step, self._steps):
            self.check()
        if unwell:
            raise Diverged(
                f"by step {step:,}: {unwell[0]} is not finite, though loss, gradient and update are"
            )

    def check(self) -> None:
        """Raises `Diverged` where a step broke that was not left out, and records it."""
        self._skipped, broken = self.model.watch().read()
        if broken is not None:
            self._ledger = dataclasses.replace(self._ledger, stopped=broken._asdict())
            ledger.write(self._run.path, self._ledger)
            raise Diverged(_message(self._run, broken, self._start, self._earlier + self._skipped))

    def before_saving(self) -> None:
        """As `check`, and that no other process has taken the run over."""
        self.check()
        if self._run.lock is not None:
            self._run.lock.require()

    def saved(self, step: int) -> None:
        """Records a checkpoint."""
        self._ledger = self._ledger.saved(step, self._earlier + self._skipped)
        ledger.write(self._run.path, self._ledger)


def _message(run: RunFolder, broken: Broken, start: int, skipped: int) -> str:
    others = {"loss": "", "gradient": ", though the loss is", "update": ", though loss and gradient are"}
    after = f" after {skipped} such steps that were left out" if skipped else ""
    hint = "" if skipped else "; --skip_nonfinite_steps=N leaves such steps out"
    return (
        f"step {broken.step:,}: the {broken.part} is not finite{others[broken.part]}{after}; most likely "
        f"{_cause(run.config, broken)}; {_way_on(run, broken, start)}{hint}"
    )


def _way_on(run: RunFolder, broken: Broken, start: int) -> str:
    """Where the next command begins; a checkpoint whose very next step breaks may lead nowhere."""
    good = verification.newest_good(run.checkpoints, before=broken.step)
    if good is None:
        return "no checkpoint was saved yet, and the same command with a lower --learning_rate starts anew"
    way = (
        f"the checkpoint of step {good:,} is good, and the same command with a lower --learning_rate goes on "
        "from it"
    )
    if good != start or broken.step > start + 1:
        return way
    older = verification.newest_good(run.checkpoints, before=start)
    delete = run.path if older is None else f"{run.checkpoints}/ckpt-{start}.*"
    where = "start anew" if older is None else f"go on from step {older:,}"
    return f"{way}; should it break there again, delete {delete} to {where}"


def _cause(config: Config, broken: Broken) -> str:
    causes = []
    if (broken.step, broken.part) == (1, "loss"):  # nothing was learned yet
        causes.append("the input, or an encoder or objective of your own")
    else:
        causes.append(f"--learning_rate={config.optimization.learning_rate:g} is too high")
    if broken.part != "update":
        name, temperature = _temperature(config)
        causes += [f"--{name}={temperature:g} too low"] if name else []
        if config.devices.precision != "float32":
            causes.append(f"--precision={config.devices.precision} too coarse")
    return " or ".join(causes)


def _temperature(config: Config) -> tuple[str, float]:
    if config.command == "distill":
        return "distillation_temperature", config.distillation.distillation_temperature
    temperature = getattr(config.method, "temperature", None) if config.command == "pretrain" else None
    return ("", 0.0) if temperature is None else ("temperature", temperature)
