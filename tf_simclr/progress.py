"""The progress bar of everything that takes a while."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(*arguments: Any, **options: Any) -> Any:
    """tqdm's bar, redrawn twice a second on a terminal and twice a minute in a log."""
    return tqdm(*arguments, mininterval=0.5 if sys.stderr.isatty() else 30, **options)
