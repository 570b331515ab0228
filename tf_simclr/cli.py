"""Runs a command: flags first, TensorFlow after, and mistakes as one line with an exit code.

Exit codes: 0; 2 for a mistake of the user's; 75 after an interruption that saved, 130 after one outside of
training; 1 for our bugs.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from tf_simclr import flag_definitions
from tf_simclr.config import Config
from tf_simclr.errors import DoesNotFit, Interrupted, UsageError
from tf_simclr.flag_definitions import Command

USAGE_ERROR, INTERRUPTED, STOPPED = 2, 75, 130


def main(command: Command, run: Callable[[Config], object], arguments: Sequence[str] | None = None) -> int:
    """Parses `arguments` (the command line's by default), runs, and returns the exit code."""
    _quiet()
    try:
        values, config = flag_definitions.parse(command, sys.argv[1:] if arguments is None else arguments)
        if values.help:
            print(flag_definitions.help_text(command, values))
            return 0
        flag_definitions.require_complete(command, config)
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
    except KeyboardInterrupt:
        print(f"{command.name}: interrupted", file=sys.stderr)
        return STOPPED
    return 0


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
        from tf_simclr.training import mistakes

        explained = mistakes.explained(error, config)
        if explained is None:
            raise
        raise explained from error


def _details(error: UsageError) -> Sequence[str]:
    """The lines below the message; what flags alone contradict is looked up in the checkpoint here."""
    if not isinstance(error, DoesNotFit) or error.asked is None:
        return error.details
    from tf_simclr.training import misfit

    return misfit.table_for(error.asked)
