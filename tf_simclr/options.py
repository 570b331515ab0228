"""An option: a field of a group, with its default, its help text and its rules."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tf_simclr.errors import UsageError

MOST, LEAST = 2**31 - 1, 1e-30  # whole numbers of 32 bits; what float32 still tells from 0
WIDEST, DEEPEST = 65_536, 32  # units of a layer, layers of a head
LONGEST = 2**20  # rows of a queue: those of 128 numbers take half a gigabyte
TEMPERATURES = {"minimum": 1e-4, "maximum": 1e4}  # cosines over it stay far within float32


def option(default: Any, help: str, **rules: Any) -> Any:
    """A field of a group: its default, its help text and its rules.

    Rules: `choices`; `minimum`, `maximum`, `above`, `below` (bounds); `form` (what a text must look like: a
    regular expression, and how to say it; empty passes); `distinct` (parts between commas differ);
    `read` (makes the
    value of a flag's text) and `measure` (the number of it that the bounds are for), ValueError on nonsense;
    `inherited` (a run given by --checkpoint supplies it), `inherited_by` (to these commands alone);
    `architecture` (inherited, and contradicting the checkpoint is an error); `may_change` (a resumed run may
    set it anew); `switch` (a text that --NAME and --noNAME set too, to true and false).
    """
    return dataclasses.field(default=default, metadata={"help": help, **rules})


def options_of(group: Any) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """(name, field, value) of every option of a group."""
    for field in dataclasses.fields(group):
        yield field.name, field, getattr(group, field.name)


def check_all(group: Any) -> None:
    """UsageError where an option of the group breaks its rules."""
    for name, field, value in options_of(group):
        check(name, value, field.metadata)


def check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    """UsageError where a value breaks the rules of its option."""
    if isinstance(value, float):
        _check_float(name, value)
    if isinstance(value, int) and value > MOST:  # Python refuses to print some of them
        raise UsageError(f"--{name}: must be at most {rules.get('maximum', MOST)}")
    if isinstance(value, str) and any(ord(letter) < 32 or "\ud800" <= letter <= "\udfff" for letter in value):
        raise UsageError(f"--{name}={value!r}: give UTF-8 text without control characters")
    if value and "form" in rules and not re.fullmatch(rules["form"][0], value):
        raise UsageError(f"--{name}={value}: give {rules['form'][1]}")
    if "distinct" in rules and value:
        parts = [part.strip() for part in value.split(",")]
        if "" in parts or len(set(parts)) < len(parts):
            raise UsageError(f"--{name}={value}: give different ones between commas")
    if "choices" in rules and value not in rules["choices"]:
        raise UsageError(f"--{name}={value}: choose one of {', '.join(map(str, rules['choices']))}")
    try:
        number = rules["measure"](value) if "measure" in rules else value
    except ValueError as error:
        raise UsageError(f"--{name}={value}: {error}") from error
    if "minimum" in rules and number < rules["minimum"]:
        raise UsageError(f"--{name}={value}: must be at least {rules['minimum']}")
    if "maximum" in rules and number > rules["maximum"]:
        raise UsageError(f"--{name}={value}: must be at most {rules['maximum']}")
    if "above" in rules and number <= rules["above"]:
        raise UsageError(f"--{name}={value}: must be greater than {rules['above']}")
    if "below" in rules and value >= rules["below"]:
        raise UsageError(f"--{name}={value}: must be less than {rules['below']}")


def _check_float(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise UsageError(f"--{name}={value}: give a finite number")
    if 0 < abs(value) < LEAST:
        raise UsageError(f"--{name}={value}: give 0, or a number that float32 tells from it")
