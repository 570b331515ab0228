"""absl flags made from the options of `config`, and a `Config` made from absl flags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from tf_simclr.config import Config
from tf_simclr.config import config as config_lib
from tf_simclr.errors import DoesNotFit, UsageError

_PLAIN = {
    r"invalid literal for int\(\).*": "give a whole number",
    r"could not convert string to float.*": "give a number",
    r"\('Non-boolean argument to boolean flag', .*\)": "give true or false",
    r"^(Missing value for flag (\S+))\s*$": r"\1; give \2=VALUE",
}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command's name, what it does in one line, its groups of flags, and its own defaults."""

    name: str
    summary: str
    groups: Sequence[str]
    defaults: Mapping[str, Any]


def _flagfiles_first(arguments: Sequence[str]) -> list[str]:
    """absl lets the last word win: flagfiles go first, so that the command line overrides them."""
    files: list[str] = []
    others = list(arguments)
    for place, word in reversed(list(enumerate(arguments))):
        if word.lstrip("-").startswith("flagfile=") or word.lstrip("-") == "flagfile":
            end = place + (1 if "=" in word else 2)
            files[:0] = others[place:end]
            del others[place:end]
    return files + others


def define_flags(command: Command) -> flags.FlagValues:
    """The command's flags, a group a section of `--help`; nothing global is touched."""
    values = flags.FlagValues()
    for group in command.groups:
        kind = config_lib.group_kinds()[group]
        for name, default, rules in _options(kind):
            _define(values, name, command.defaults.get(name, default), rules, section=kind.__doc__ or group)
    flags.DEFINE_flag(flags.BooleanFlag("help", False, "show this help"), values, "general")
    return values


def parse(command: Command, arguments: Sequence[str]) -> tuple[flags.FlagValues, Config]:
    """Reads the command line. Precedence: command line, flagfile, the run of --checkpoint, defaults.

    Raises:
        UsageError: for an unknown flag, a value out of bounds, a file that cannot be read, or an
            architecture that contradicts the checkpoint.
    """
    values = define_flags(command)
    try:
        rest = values([f"python -m tf_simclr.{command.name}", *_flagfiles_first(arguments)])[1:]
    except (flags.Error, ValueError) as error:  # --noFLAG=1, and a flagfile that is no text
        raise UsageError(_plain(str(error).splitlines()[0].replace("ERROR:: ", ""))) from error
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: every option is a flag, --name=value")
    if values.help:
        return values, Config(command=command.name)
    return values, _to_config(command, values)


def _plain(message: str) -> str:
    """absl's message without Python's terms."""
    for terms, words in _PLAIN.items():
        message = re.sub(terms, words, message)
    return message


def help_text(command: Command, values: flags.FlagValues) -> str:
    return f"python -m tf_simclr.{command.name}: {command.summary}\n{values.get_help()}"


def flagfile(command: Command, config: Config) -> str:
    """A flagfile that repeats the run in another --model_dir."""
    own = {field for group in command.groups for field, _, _ in _options(config_lib.group_kinds()[group])}
    lines = [f"# python -m tf_simclr.{command.name} --flagfile=THIS --model_dir=ANOTHER"]
    for name, _, value in config.options():
        if name in own and name != "model_dir" and value != "":
            lines.append(f"--{name}={str(value).lower() if isinstance(value, bool) else value}")
    return "\n".join(lines) + "\n"


def stored_config(checkpoint: str) -> Config:
    """The configuration of the run that `checkpoint` (a run folder or a checkpoint's prefix) belongs to.

    Raises:
        UsageError: there is no run, or it cannot be read.
    """
    try:
        return read_config(run_of(checkpoint))
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(
            f"--checkpoint={checkpoint}: no run here (config.json is missing); give a run folder, or "
            "RUN/checkpoints/ckpt-STEP, or import other weights with tf_simclr.import_official"
        ) from None
    except Exception as error:  # of a remote file system, TensorFlow's own, which is not imported here
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--checkpoint={checkpoint}: cannot be read ({reason})") from error


def read_config(folder: epath.Path) -> Config:
    """config.json of a run folder.

    Raises:
        FileNotFoundError: it is not there.
        UsageError: it cannot be read.
    """
    try:
        return Config.from_json((folder / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError("config.json is missing") from None
    except (ValueError, KeyError, TypeError) as error:  # not UTF-8, not JSON, not ours
        raise UsageError(f"{folder / 'config.json'} cannot be used: {error}") from error


def run_of(checkpoint: str) -> epath.Path:
    """The run folder of a run folder, of a sweep's (its chosen run), or of RUN/checkpoints/ckpt-STEP."""
    path = epath.Path(checkpoint)
    if not path.is_dir():
        return path.parent.parent
    chosen = path / "chosen"
    return chosen if not (path / "checkpoints").exists() and (chosen / "config.json").exists() else path


def _options(kind: Any) -> list[tuple[str, Any, Mapping[str, Any]]]:
    defaults = kind()
    return [(field.name, getattr(defaults, field.name), field.metadata) for field in dataclasses.fields(kind)]


def _define(
    values: flags.FlagValues, name: str, default: Any, rules: Mapping[str, Any], section: str
) -> None:
    text = rules["help"]
    if "choices" in rules:
        text += f" ({', '.join(map(str, rules['choices']))})"
    if isinstance(default, bool):
        flags.DEFINE_flag(flags.BooleanFlag(name, default, text), values, section)
    elif isinstance(default, int):
        flags.DEFINE(flags.IntegerParser(), name, default, text, values, flags.ArgumentSerializer(), section)
    elif isinstance(default, float):
        flags.DEFINE(flags.FloatParser(), name, default, text, values, flags.ArgumentSerializer(), section)
    else:
        flags.DEFINE(flags.ArgumentParser(), name, default, text, values, flags.ArgumentSerializer(), section)


def _to_config(command: Command, values: flags.FlagValues) -> Config:
    own = {name for group in command.groups for name, _, _ in _options(config_lib.group_kinds()[group])}
    asked = {name: values[name].value for name in own}
    given = {name for name in own if values[name].present}
    config = Config(command=command.name).replace(**asked)
    if not config.checkpoints.checkpoint:
        return config
    return _inherit(config, stored_config(config.checkpoints.checkpoint), given)


def _inherit(config: Config, stored: Config, given: set[str]) -> Config:
    """Takes data set, image size, encoder and head from the checkpoint's run where no flag was given."""
    taken, clashes = {}, []
    for name, field, value in stored.options():
        rules = field.metadata
        architecture = rules.get("architecture", False)
        if not (architecture or rules.get("inherited") or rules.get("inherited_by") == config.command):
            continue
        if name not in given or (name == "stem" and config.encoder.stem == "auto"):
            taken[name] = stored.stem if name == "stem" else value
        elif architecture and name != "stem" and getattr(_group_of(config, name), name) != value:
            clashes.append((name, value, getattr(_group_of(config, name), name)))
    if "dataset" in given and "labels" not in given:
        taken.pop("labels", None)
    if "stem" in given and config.encoder.stem not in ("auto", stored.stem):
        clashes.append(("stem", stored.stem, config.stem))
    config = config.replace(**taken)
    if clashes:
        has = " ".join(f"--{name}={value}" for name, value, _ in clashes)
        asked = " ".join(f"--{name}={value}" for name, _, value in clashes)
        raise DoesNotFit(
            f"--checkpoint={config.checkpoints.checkpoint} is {has}; you asked for {asked}: leave it out",
            asked=config,
        )
    return config


def _group_of(config: Config, option: str) -> Any:
    return next(
        getattr(config, group)
        for group in config_lib.group_names()
        if hasattr(getattr(config, group), option)
    )
