"""absl flags made from the options of a command's groups, and a `Config` made from absl flags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from tf_simclr import methods, shipped
from tf_simclr.config import config as config_lib
from tf_simclr.config.config import Config
from tf_simclr.config.exported import exported_config
from tf_simclr.config.stored import follow, inherit, resumed, stored_config
from tf_simclr.errors import UsageError, naming
from tf_simclr.methods.method import Method

_PLAIN = {
    r"invalid literal for int\(\).*": "give a whole number",
    r"could not convert string to float.*": "give a number",
    r"\('Non-boolean argument to boolean flag', .*\)": "give true or false",
    r"^(Missing value for flag (\S+))\s*$": r"\1; give \2=VALUE",
}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command's name, what it does in one line, its groups of flags, and its own defaults.

    `found` are groups that config.json holds although no flag sets them: the command finds them out.
    """

    name: str
    summary: str
    groups: Sequence[str]
    defaults: Mapping[str, Any]
    found: Sequence[str] = ()

    @property
    def stored_groups(self) -> tuple[str, ...]:
        """What config.json of its runs holds."""
        return (*self.groups, *self.found)


class _FlagValues(flags.FlagValues):
    """absl's, whose flagfiles, nested ones too, may be shipped ones."""

    def _get_flag_file_lines(self, filename: str, parsed_file_stack: list[str] | None = None) -> list[str]:
        return super()._get_flag_file_lines(shipped.find(filename), parsed_file_stack)


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


def define_flags(command: Command, method: str = methods.DEFAULT) -> flags.FlagValues:
    """The command's flags, a group a section of `--help`; nothing global is touched.

    Raises:
        UsageError: there is no such method, or an option of it has the name of another flag.
    """
    values = _FlagValues()
    kind = methods.find(method)
    published = kind.defaults if "method" in command.groups else {}
    options = list(_options(command, kind))
    if unknown := published.keys() - {name for group, name, _, _ in options if group != "method"}:
        raise UsageError(f"--method={method}: its defaults name no shared flag: {', '.join(sorted(unknown))}")
    for group, name, default, rules in options:
        if name in values or name in ("name", "method"):
            raise UsageError(f"--method={method}: its option {name!r} is a flag of every method; rename it")
        section = f"method {method}" if group == "method" else _section(group)
        own = published.get(name, command.defaults.get(name, default))
        if isinstance(default, float) and type(own) is int:
            own = float(own)
        if type(own) is not type(default):
            raise UsageError(
                f"--method={method}: its default of --{name}, {own!r}, is no {type(default).__name__}"
            )
        _define(values, name, own, rules, section)
    if "method" in command.groups:
        known = f"pretraining method: {', '.join(methods.names())}, or MODULE:CLASS"
        _define(values, "method", method, {"help": known}, "method")
    flags.DEFINE_flag(flags.BooleanFlag("help", False, "show this help"), values, "general")
    return values


def _options(command: Command, method: type[Method]) -> Iterator[tuple[str, str, Any, Mapping[str, Any]]]:
    """(group, name, default, rules) of every flag of a command, the shared groups first."""
    for group in sorted(command.groups, key="method".__eq__):
        kind = method if group == "method" else config_lib.group_kind(group)
        for own in dataclasses.fields(kind):
            yield group, own.name, own.default, own.metadata


def _section(group: str) -> str:
    return config_lib.group_kind(group).__doc__ or group


def parse(command: Command, arguments: Sequence[str]) -> tuple[flags.FlagValues, Config]:
    """Reads the command line.

    Precedence: command line, flagfile, the run of --checkpoint or what --export says of its own, the run of
    --teacher, defaults.

    A method's published settings stand before the command's defaults.

    Raises:
        UsageError: for an unknown flag, a value out of bounds, a file that cannot be read, or an
            architecture that contradicts the checkpoint.
    """
    words = [f"python -m tf_simclr.{command.name}", *_flagfiles_first(arguments)]
    try:
        method = _method(words) if "method" in command.groups else methods.DEFAULT
        values = define_flags(command, method)
        rest = values(words)[1:]
    except UsageError:
        raise
    except UnicodeDecodeError as error:
        raise UsageError("--flagfile: a file that it names is no UTF-8 text") from error
    except (flags.Error, ValueError) as error:  # --noFLAG=1
        raise UsageError(_plain(str(error).splitlines()[0].replace("ERROR:: ", ""))) from error
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: every option is a flag, --name=value")
    if values.help:
        return values, Config(command=command.name)
    return values, _to_config(command, values)


def _method(words: Sequence[str]) -> str:
    """What the last --method says, which decides what further flags there are."""
    values = _FlagValues()
    _define(values, "method", methods.DEFAULT, {"help": ""}, "method")
    values.set_gnu_getopt(True)
    values(list(words), known_only=True)
    return values.method


def _plain(message: str) -> str:
    """absl's message without Python's terms."""
    for terms, words in _PLAIN.items():
        message = re.sub(terms, words, message)
    return message


def help_text(command: Command, values: flags.FlagValues) -> str:
    return f"python -m tf_simclr.{command.name}: {command.summary}\n{values.get_help()}"


def flagfile(command: Command, config: Config) -> str:
    """A flagfile that repeats the run in another --model_dir."""
    lines = [f"# python -m tf_simclr.{command.name} --flagfile=THIS --model_dir=ANOTHER"]
    method = methods.name_of(config.method)
    if "method" in command.groups and method != methods.DEFAULT:
        lines.append(f"--method={method}")
    defaults = define_flags(command, method)
    for name, _, value in config.options(command.groups):
        if name != "model_dir" and (value != "" or defaults[name].default):
            lines.append(f"--{name}={str(value).lower() if isinstance(value, bool) else value}")
    return "\n".join(lines) + "\n"


def _define(
    values: flags.FlagValues, name: str, default: Any, rules: Mapping[str, Any], section: str
) -> None:
    text = rules["help"]
    if "choices" in rules:
        text += f" ({', '.join(map(str, rules['choices']))})"
    if "read" in rules:
        flags.DEFINE(_Reader(rules["read"]), name, default, text, values, flags.ArgumentSerializer(), section)
    elif isinstance(default, bool):
        flags.DEFINE_flag(flags.BooleanFlag(name, default, text), values, section)
    elif isinstance(default, int):
        flags.DEFINE(flags.IntegerParser(), name, default, text, values, flags.ArgumentSerializer(), section)
    elif isinstance(default, float):
        flags.DEFINE(flags.FloatParser(), name, default, text, values, flags.ArgumentSerializer(), section)
    else:
        plain: tuple[Any, Any] = flags.ArgumentParser(), flags.ArgumentSerializer()
        switch = rules.get("switch", False)
        flags.DEFINE_flag(flags.Flag(*plain, name, default, text, boolean=switch), values, section)


class _Reader(flags.ArgumentParser):
    """Of an option that makes its value itself."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        super().__init__()
        self._read = read

    def parse(self, argument: Any) -> Any:
        return self._read(str(argument))


def _to_config(command: Command, values: flags.FlagValues) -> Config:
    names = [name for name in values if name != "help"]
    asked = {name: values[name].value for name in names}
    given = {name for name in names if values[name].present}
    config = Config(command=command.name).replace(**asked)
    if config.distillation.teacher:
        with naming("teacher", instead_of="checkpoint"):
            config = follow(config, stored_config(config.distillation.teacher), given)
    if config.predicting.export:
        config = inherit(config, exported_config(config.predicting.export), given)
    elif config.checkpoints.checkpoint:
        config = inherit(config, stored_config(config.checkpoints.checkpoint), given)
    return resumed(config, given)
