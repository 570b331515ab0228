"""Whether a checkpoint fits what is asked for, and if not, what differs and which flags would fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.config.stored import stored_config
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.runs.parts import new_parts, variables_by_path
from tf_simclr.runs.prefixes import find, variable_shapes

ROWS = 10
Shapes = dict[str, list[int]]
Variables = Mapping[str, tf.Variable]


def require_fit(prefix: str, parts: Mapping[str, Any], asked: Config) -> None:
    """Compares the variables of the built `parts`, which `asked` describes, with the checkpoint's.

    Raises:
        DoesNotFit: with the flags that would fit, and a table of what differs.
        UsageError: the checkpoint cannot be read.
    """
    built = variables_by_path(parts)
    stored = {path: shape for path, shape in variable_shapes(prefix).items() if _part(path) in parts}
    if stored == _shapes(built):
        return
    config, known = _found(prefix, asked, stored, parts)
    has, wanted = _flags(config, stored), _flags(asked, _shapes(built))
    different = [name for name in has if has[name] != wanted[name]]
    message = "holds other variables than asked for"
    if different:
        flags = (" ".join(f"--{name}={values[name]}" for name in different) for values in (has, wanted))
        message = "is {}; you asked for {}".format(*flags)
    raise DoesNotFit(f"--checkpoint={prefix} {message}", table(_rows(stored, built, known)))


def table_for(asked: Config) -> Sequence[str]:
    """The table for an architecture that flags ask for; empty where there is no checkpoint to look at."""
    try:
        with tf.Graph().as_default():
            require_fit(find(asked.checkpoints.checkpoint), new_parts(asked, 0), asked)
    except UsageError as error:
        return error.details
    return ()


def table(rows: Sequence[tuple[str, str, str]], ours: str = "asked for") -> list[str]:
    """Lines for the first rows of (variable, what the checkpoint has, what `ours` has)."""
    shown = [("variable", "in the checkpoint", ours), *rows[:ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return lines + ([f"... and {len(rows) - ROWS} more"] if len(rows) > ROWS else [])


def _rows(stored: Shapes, built: Variables, known: Variables) -> list[tuple[str, str, str]]:
    """What differs; `known` are variables whose names are those of the checkpoint's."""
    asked = _shapes(built)
    names = {path: _name(path, variable) for path, variable in {**known, **built}.items()}
    return [
        (names.get(path, path), str(stored.get(path, "absent")), str(asked.get(path, "absent")))
        for path in dict.fromkeys([*built, *known, *sorted(stored)])
        if stored.get(path) != asked.get(path)
    ]


def _found(prefix: str, asked: Config, stored: Shapes, parts: Mapping[str, Any]) -> tuple[Config, Variables]:
    """What the checkpoint is of, with its variables; `asked` and none where that is not found."""
    wanted = {path: shape for path, shape in stored.items() if _part(path) != "classifier"}
    for config in _candidates(prefix, asked):
        with contextlib.suppress(UsageError), tf.Graph().as_default():
            made = new_parts(config, 0)
            known = variables_by_path({name: part for name, part in made.items() if name in parts})
            if _shapes(known) == wanted:
                return config, known
    return asked, {}


def _candidates(prefix: str, asked: Config) -> Iterator[Config]:
    """What the checkpoint's run says that it is, and what differs from `asked` in one choice."""
    with contextlib.suppress(UsageError):
        yield stored_config(prefix)
    for name, field, value in reversed(list(asked.options())):  # heads are built sooner than encoders
        if field.metadata.get("architecture"):
            for choice in field.metadata.get("choices", ()):
                if choice != value:
                    yield asked.replace(**{name: choice})


def _flags(config: Config, shapes: Shapes) -> dict[str, Any]:
    """The architecture as flags, and the number of classes (0: no classifier)."""
    values = {name: value for name, field, value in config.options() if field.metadata.get("architecture")}
    classes = next((shape[-1] for path, shape in shapes.items() if _part(path) == "classifier"), 0)
    return {**values, "stem": config.stem, "classes": classes}


def _shapes(variables: Variables) -> Shapes:
    return {path: variable.shape.as_list() for path, variable in variables.items()}


def _name(path: str, variable: tf.Variable) -> str:
    part, name = _part(path), variable.name.split(":", maxsplit=1)[0]
    return name if name.startswith(f"{part}/") else f"{part}/{name}"


def _part(path: str) -> str:
    return path.split("/", maxsplit=1)[0]
