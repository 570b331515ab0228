"""`tf-simclr COMMAND ...`, `python -m tf_simclr COMMAND ...`: what `python -m tf_simclr.COMMAND ...` does."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import sys
from pathlib import Path

from tf_simclr.streams import lasting

_HERE = Path(__file__).resolve().parent


def commands() -> dict[str, str]:
    """The module of every command by its name: the files beside this one that define COMMAND, and `export`.

    An installed package must not be called `export`; a clone that is not installed has it under that name.
    """
    named = {file.stem: f"tf_simclr.{file.stem}" for file in sorted(_HERE.glob("*.py")) if _is_command(file)}
    installed = importlib.util.find_spec("tf_simclr_export")
    return {**named, "export": "tf_simclr_export" if installed else "export"}


def _is_command(file: Path) -> bool:
    return re.search(r"^COMMAND = ", file.read_text(encoding="utf-8"), re.M) is not None


def main() -> int:
    """Runs the command that stands first on the command line, which exits by itself."""
    known = commands()
    if sys.argv[1:2] in ([], ["--help"]):
        with lasting():
            print(_help(known))
        return 0
    name = sys.argv[1]
    if name not in known:
        print(f"tf-simclr: {name!r} is none of {', '.join(known)}", file=sys.stderr)
        return 2
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.getcwd())  # as python -m does: MODULE:NAME are files of the user's
    sys.argv = sys.argv[1:]
    runpy.run_module(known[name], run_name="__main__", alter_sys=True)
    return 0


def _help(known: dict[str, str]) -> str:
    width = max(map(len, known))
    usage = "tf-simclr COMMAND --flag=value ...; tf-simclr COMMAND --help has its flags"
    return "\n".join([usage, "", *(f"{name:{width}}  {_summary(module)}" for name, module in known.items())])


def _summary(module: str) -> str:
    found = importlib.import_module(module)
    return found.COMMAND.summary if hasattr(found, "COMMAND") else (found.__doc__ or "").partition(":")[0]


if __name__ == "__main__":
    sys.exit(main())
