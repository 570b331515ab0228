"""--extend: a run that goes on to a later end; config.json says the new length, and how it came to it."""

from __future__ import annotations

import dataclasses
import json
import shlex

from etils import epath

from tf_simclr.config import Config
from tf_simclr.config.config import differences
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError
from tf_simclr.runs.prefixes import saved_in, step_of

OPTIONS = ("train_epochs", "train_steps")


def taken_up(asked: Config, found: Config, path: epath.Path, command: Command) -> Config:
    """`asked` with the lengths that the run `found` in `path` has had; a further one by --extend.

    Raises:
        UsageError: other flags than the run's, a length that is not longer, or a longer one without
            --extend: the details are then commands that go on.
    """
    asked = dataclasses.replace(asked, extended=found.extended)
    different = differences(asked, found, command.stored_groups)
    if not different:
        return asked
    of_length = {name: getattr(found.optimization, name) for name in OPTIONS}
    others = differences(asked.replace(**of_length), found, command.stored_groups)
    images, extend = _images(path), asked.extension.extend
    old, new = found.steps(images).total, asked.steps(images).total
    one_run = "extension" in command.groups and not asked.sweep.sweep
    if others or not images or not one_run or (new <= old and not extend):
        raise UsageError(
            f"--model_dir={path} holds a run with other flags: {', '.join(different)}; give another folder"
        )
    if new <= old:
        raise UsageError(
            f"--extend: the run in --model_dir={path} is of {old:,} steps, {' '.join(_flags(asked, found))} "
            f"makes {new:,}; ask for more, or give another folder"
        )
    step = _last_step(path)
    _require_last_weights(found, path, ended=step >= old if step else bool(found.repeats.seeds))
    if not extend:
        raise UsageError(
            f"--model_dir={path} holds a run of {old:,} steps, you ask for {new:,}: add --extend to train it "
            "longer, or give another folder",
            _commands(asked, found, path),
        )
    return dataclasses.replace(asked, extended=(*asked.extended, (step, old, new))) if step else asked


def _last_step(path: epath.Path) -> int:
    """Of the newest checkpoint; 0 where there is none."""
    saved = saved_in(path / "checkpoints")
    return step_of(saved[-1]) if saved else 0


def _require_last_weights(found: Config, path: epath.Path, ended: bool) -> None:
    if ended and found.selection.select_on_validation:
        raise UsageError(
            f"--model_dir={path} ended with the weights that --select_on_validation chose, and has no later "
            "ones to go on from; give another folder"
        )


def _images(path: epath.Path) -> int:
    """How many a run, or the first one of its seeds, trains on; 0 where none has begun."""
    for file in (path / "data.json", *sorted(path.glob("seed_*/data.json"))):
        try:
            return int(json.loads(file.read_text()).get("num_examples", 0))
        except FileNotFoundError:
            continue
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{file} is damaged ({error}); delete it and run the command again") from error
    return 0


def _flags(asked: Config, found: Config) -> list[str]:
    train, before = asked.optimization, found.optimization
    return [
        f"--{name}={getattr(train, name)}"
        for name in OPTIONS
        if getattr(train, name) != getattr(before, name)
    ]


def _commands(asked: Config, found: Config, path: epath.Path) -> list[str]:
    """What goes on in the run's own folder, and what begins in another one from its weights."""
    same = ["python", "-m", f"tf_simclr.{asked.command}", f"--flagfile={path / 'flags.cfg'}"]
    same += _flags(asked, found)
    longer = [*same, f"--model_dir={path}", "--extend"]
    weights = [] if asked.command == "linear_eval" else [f"--checkpoint={path}"]  # its encoder is not trained
    anew = [*same, *weights, "--model_dir=NEW"]
    return [
        f"{shlex.join(longer)}  # goes on",
        f"{shlex.join(anew)}  # begins anew{' from its weights' * bool(weights)}",
    ]
