"""`python -m tf_simclr.reproduction.chain JSON`: commands one after the other in one process.

JSON is a list of command lines, each a list of words. A command whose run has its result is not run again;
the first that fails ends the chain with its exit code. The process ends, saved, when its standard input does:
so it does not outlive the one that started it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

from etils import epath


def run(lines: Sequence[Sequence[str]]) -> int:
    """Returns the exit code."""
    for name, *words in lines:
        (folder,) = (word.partition("=")[2] for word in words if word.startswith("--model_dir="))
        if (epath.Path(folder) / "result.json").exists():
            continue
        if code := importlib.import_module(f"tf_simclr.{name}").main(words):
            return code
        _forget()
    return 0


def _forget() -> None:
    """Frees what Keras keeps of a command's models."""
    import tensorflow as tf

    tf.keras.backend.clear_session()


def _end_with_the_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    sys.exit(run(json.loads(sys.argv[1])))
