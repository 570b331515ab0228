"""Finds what a flag names: a file of a package of ours, or MODULE:NAME of the user's own."""

from __future__ import annotations

import ast
import importlib
import re
from typing import Any, NamedTuple

from tf_simclr.errors import UsageError

_CALL = re.compile(r"([\w.]+(?::[\w.]+)?)\s*(?:\((.*)\))?", re.DOTALL)


class Call(NamedTuple):
    """`name(key=value, ...)` as a flag has it; the values are literals."""

    name: str
    arguments: dict[str, Any]


def parse(flag: str, text: str) -> Call:
    """Reads `NAME`, `MODULE:NAME` or either with `(key=literal, ...)` behind it.

    Raises:
        UsageError: it is none of these.
    """
    match = _CALL.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("no name")
        call = ast.parse(f"_({match.group(2) or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("arguments are key=value")
        arguments = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        if len(arguments) < len(call.keywords):
            raise ValueError("a key stands twice, or is none")
        return Call(match.group(1), arguments)
    except (ValueError, SyntaxError, TypeError) as error:
        raise UsageError(
            f"--{flag}={text}: give NAME, MODULE:NAME, or either with (key=value, ...)"
        ) from error


def imported(flag: str, name: str) -> Any:
    """What `MODULE:NAME` names.

    Raises:
        UsageError: no such module, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    try:
        found = _module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise UsageError(
            f"--{flag}={name}: cannot be imported ({error}); MODULE is looked for from the folder that the "
            "command runs in"
        ) from error


def _module(name: str) -> Any:
    """The module; an attribute of one where it is no file of its own, as TensorFlow's `keras` is."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        parent, _, last = name.rpartition(".")
        if not parent or not name.startswith(error.name or name):
            raise
        return getattr(_module(parent), last)


def call(flag: str, text: str, makers: dict[str, Any] | None = None) -> Any:
    """What the named function or class returns for the arguments in `text`; `makers` are found by name.

    Raises:
        UsageError: no such name, or arguments that it does not take.
    """
    name, arguments = parse(flag, text)
    if ":" in name:
        maker = imported(flag, name)
    elif name in (makers or {}):
        maker = (makers or {})[name]
    else:
        known = ", ".join([*(makers or {}), "MODULE:NAME"])
        raise UsageError(f"--{flag}={text}: {name!r} is none of {known}")
    try:
        return maker(**arguments)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"--{flag}={text}: {error}") from error


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators that stand outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (not quote) * ((letter in "([") - (letter in ")]"))
        if letter == separator and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
