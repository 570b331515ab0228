"""Runs a command: flags first, TensorFlow after, and mistakes as one line with an exit code.

Exit codes: 0; 2 for a mistake of the user's; 75 after an interruption that saved, or on a full disk;
130 after an interruption outside of training, or a second one within; 1 for our bugs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epy

from tf_simclr.config import Config, flags
from tf_simclr.config.flags import Command
from tf_simclr.devices.cluster import this_worker
from tf_simclr.errors import DoesNotFit, Interrupted, UsageError
from tf_simclr.streams import lasting, without_chatter

with epy.lazy_imports():
    from tf_simclr.checks import mistakes
    from tf_simclr.runs import misfit

USAGE_ERROR, INTERRUPTED, STOPPED = 2, 75, 130
AGAIN = 5.0  # seconds


class _Stopped(BaseException):
    """A signal came. After a KeyboardInterrupt Python may end by SIGINT, although it was caught."""


def main(command: Command, run: Callable[[Config], object], arguments: Sequence[str] | None = None) -> int:
    """Parses `arguments` (the command line's by default), runs, and returns the exit code."""
    _quiet()
    with without_chatter(), lasting():
        return _main(command, run, sys.argv[1:] if arguments is None else arguments)


def _main(command: Command, run: Callable[[Config], object], arguments: Sequence[str]) -> int:
    try:
        values, config = flags.parse(command, arguments)
        if values.help:
            print(flags.help_text(command, values))
            return 0
        _require_complete(command, config)
        with _stoppable():
            _run(run, config)
    except UsageError as error:
        details = _details(error)  # first: TensorFlow, imported for them, may say something of its own
        print(f"{command.name}: {' '.join(str(error).split())}", file=sys.stderr)
        for line in details:
            print(f"  {line}", file=sys.stderr)
        return USAGE_ERROR
    except Interrupted as error:
        print(f"{command.name}: {error}; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except (_Stopped, KeyboardInterrupt):
        print(f"{command.name}: interrupted", file=sys.stderr)
        return STOPPED
    return 0


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGINT outside of training end the command.

    The signal comes again after a while: Python drops what is raised in an object's last moments.
    """
    again: list[threading.Timer] = []

    def stop(number: int, frame: Any) -> None:
        again.append(threading.Timer(AGAIN, os.kill, (os.getpid(), number)))
        again[-1].daemon = True
        again[-1].start()
        raise _Stopped

    if threading.current_thread() is not threading.main_thread():  # whoever runs us handles signals
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for timer in again:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_complete(command: Command, config: Config) -> None:
    """What no run can do without, asked for before TensorFlow is imported.

    Raises:
        UsageError: no run folder, teacher or data set is named, a data set to probe but not how often,
            TF_CONFIG cannot be used, or several workers are given what one process does.
    """
    if "run" not in command.groups or {"doctor", "reproduction"} & set(command.groups):
        return
    if this_worker(config.devices).count > 1:
        _refuse_several_workers(config)
    if not config.preview.preview_views:
        config.require_model_dir()
    if "distillation" in command.groups:
        config.require_teacher()
    if "open_set" in command.groups:
        config.require_known_classes()
    if not config.transfers.datasets and "imported" not in command.groups:
        config.require_dataset()
    if "labels" in command.groups:
        _require_augment(config)
    if config.probe.probe_dataset and not config.probe.probe_epochs:
        raise UsageError(
            f"--probe_dataset={config.probe.probe_dataset} goes with --probe_epochs, the epochs between "
            "probes; give both"
        )


def _require_augment(config: Config) -> None:
    """UsageError where a classifier is given augmentations that its one view of an image does not get."""
    named, augment = config.augmentation.augmentations, config.labels.augment
    if named and augment != "simclr":
        raise UsageError(f"--augmentations={named} goes with --augment=simclr, not {augment}; give both")
    if config.augmentation.one_branch:
        raise UsageError("--one_branch is for the views of pretraining; a classifier has one, leave it out")


def _refuse_several_workers(config: Config) -> None:
    several = {
        "sweep": config.sweep.sweep,
        "seeds": config.repeats.seeds,
        "compare_with": config.comparison.compare_with,
    }
    for flag, value in several.items():
        if value:
            raise UsageError(f"--{flag} is for one process: give it without TF_CONFIG, or leave it out")


def _quiet() -> None:
    """Leaves out what TensorFlow and Keras say to developers, unless somebody has asked for it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logger = logging.getLogger("tensorflow")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)


def _run(run: Callable[[Config], object], config: Config) -> None:
    """Runs the command; TensorFlow's errors about bad data or a lost worker become one line."""
    try:
        run(config)
    except (UsageError, Interrupted):
        raise
    except Exception as error:
        explained = mistakes.explained(error, config)
        if explained is None:
            raise
        raise explained from error


def _details(error: UsageError) -> Sequence[str]:
    """The lines below the message; what flags alone contradict is looked up in the checkpoint here."""
    if not isinstance(error, DoesNotFit) or error.asked is None:
        return error.details
    return misfit.table_for(error.asked)
