"""What depends on what in a program that XLA compiled."""

from __future__ import annotations

import re

import tensorflow as tf


def optimized(function: tf.types.experimental.GenericFunction, *arguments: object) -> str:
    return function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")


def waits(program: str, instruction: str, other: str) -> bool:
    """Whether `instruction` (a name with its %) needs the result of `other`, however indirectly."""
    lines = re.findall(r"^ *(?:ROOT )?(%[\w.-]+) = (.*)$", program, re.MULTILINE)
    operands = {name: set(re.findall(r"%[\w.-]+", rest)) for name, rest in lines}
    needed, new = set(), {instruction}
    while new:
        needed |= new
        new = set().union(*(operands.get(name, set()) for name in new)) - needed
    return other in needed - {instruction}
