"""What a row runs: commands with their flags, in folders named after what they depend on.

Rows with the same resolved flags, of whatever table, are the same run; so a table's base is trained once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from tf_simclr import methods
from tf_simclr.config import Config, flags
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError
from tf_simclr.reproduction.tables import Row

COMMANDS = "pretrain linear_eval finetune knn transfer label_efficiency evaluate transformation_probe".split()
_OF_THE_RUN = ("seed", "checkpoint")  # said by the stage itself; paths may change


@dataclasses.dataclass(frozen=True)
class Stage:
    """A command of a row: its words but for --seed and folders, what they resolve to, whether it trains."""

    command: str
    words: tuple[str, ...]
    config: Config
    flags: Mapping[str, Any]
    trains: bool


@dataclasses.dataclass(frozen=True)
class Cell:
    """A row with a seed: its stages and the names of their run folders."""

    row: Row
    seed: int
    stages: tuple[Stage, ...]
    folders: tuple[str, ...]

    @property
    def identity(self) -> list[dict[str, Any]]:
        """The commands and their flags, as results keep them."""
        return [{"command": stage.command, "flags": dict(stage.flags)} for stage in self.stages]

    def arguments(self, place: int, model_dir: str) -> list[str]:
        """The command line of a stage, without `python -m`."""
        stage = self.stages[place]
        source = [f"--checkpoint={os.path.join(model_dir, self.folders[0])}"] if place else []
        own = [f"--seed={self.seed}", f"--model_dir={os.path.join(model_dir, self.folders[place])}"]
        return [stage.command, *stage.words, *source, *own]


def cells(rows: Sequence[Row], seeds: Sequence[int], more: str) -> list[Cell]:
    """Every row with every seed, a seed after the other; `more` is --row_flags.

    Raises:
        UsageError: the flags of a row do not parse, or no command knows one of `more`.
    """
    words = shlex.split(more)
    resolved = {row.path: tuple(_stages(row, words)) for row in rows}
    for word in words:
        if not any(word in stage.words for stages in resolved.values() for stage in stages):
            raise UsageError(f"--row_flags={more}: no command of the rows has {word}; give --FLAG=VALUE")
    return [_cell(row, seed, resolved[row.path]) for seed in seeds for row in rows]


def _stages(row: Row, more: Sequence[str]) -> Iterator[Stage]:
    """The first command takes the row's file; those behind it SET/COMMAND.cfg, where that is there."""
    for place, (name, *own) in enumerate(row.runs):
        command = _command(row, name)
        shared = row.path.parent.parent / f"{name}.cfg"
        file = shared if place else row.path
        words = ([f"--flagfile={file}"] if file.exists() else []) + own
        known = flags.define_flags(command)
        words += [word for word in more if _is_known(word, known)]
        try:
            _, config = flags.parse(command, words)
        except UsageError as error:
            raise UsageError(f"{row.path}: {name}: {error}") from error
        yield Stage(name, tuple(words), config, _said(command, config), "optimization" in command.groups)


def _command(row: Row, name: str) -> Command:
    if name not in COMMANDS:
        raise UsageError(f"{row.path}: `# run: {name}` is none of {', '.join(COMMANDS)}")
    return importlib.import_module(f"tf_simclr.{name}").COMMAND


def _is_known(word: str, known: Any) -> bool:
    name = word.lstrip("-").split("=")[0]
    return name in known or name.removeprefix("no") in known


def _said(command: Command, config: Config) -> dict[str, Any]:
    """The options that say something: other than their group's default, and not free to change in a run."""
    said: dict[str, Any] = {}
    if "method" in command.groups and (method := methods.name_of(config.method)) != methods.DEFAULT:
        said["method"] = method
    for name, field, value in config.options(command.stored_groups):
        free = field.metadata.get("may_change") or name in _OF_THE_RUN
        if not free and value != field.default:
            said[name] = value
    return said


def _cell(row: Row, seed: int, stages: tuple[Stage, ...]) -> Cell:
    folders = []
    for place, stage in enumerate(stages):
        chain = [(one.command, dict(one.flags)) for one in (stages[0], stage)[: place + 1]]
        digest = hashlib.sha256(json.dumps([chain, seed], sort_keys=True).encode()).hexdigest()
        folders.append(f"{stage.command}-{digest[:12]}")
    return Cell(row, seed, stages, tuple(folders))


def finished(cell: Cell, model_dir: str) -> bool:
    """Whether the last run of a row has its result."""
    return (epath.Path(model_dir) / cell.folders[-1] / "result.json").exists()
