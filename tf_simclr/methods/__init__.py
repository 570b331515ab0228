"""Pretraining methods, a file each, found by its name; TensorFlow is imported when one first computes."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

from tf_simclr import lookup
from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method

__all__ = ["DEFAULT", "Method", "find", "name_of", "names"]

DEFAULT = "simclr"
_SHARED = ("method", "prediction", "state")


def names() -> list[str]:
    """The methods of this folder."""
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED]


def find(name: str) -> type[Method]:
    """The class in methods/NAME.py, or the user's MODULE:CLASS.

    Raises:
        UsageError: there is none, or it is no `Method`.
    """
    if ":" in name:
        found = lookup.imported("method", name)
    elif name in names():
        module = importlib.import_module(f"{__name__}.{name}")
        own = [kind for kind in vars(module).values() if _is_own(kind, module.__name__)]
        if len(own) != 1:
            raise UsageError(f"--method={name}: methods/{name}.py has {len(own)} methods; give a file one")
        found = own[0]
    else:
        raise UsageError(f"--method={name}: give one of {', '.join(names())}, or MODULE:CLASS")
    if not (isinstance(found, type) and issubclass(found, Method) and found is not Method):
        raise UsageError(f"--method={name}: is no class of tf_simclr.methods.Method")
    if any(isinstance(value, dataclasses.Field) for value in vars(found).values()):
        raise UsageError(f"--method={name}: decorate it with @dataclasses.dataclass(frozen=True)")
    return found


def name_of(method: Method) -> str:
    """What --method says for it."""
    kind = type(method)
    package, _, module = kind.__module__.rpartition(".")
    return module if package == __name__ else f"{kind.__module__}:{kind.__qualname__}"


def _is_own(kind: object, module: str) -> bool:
    return isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module
