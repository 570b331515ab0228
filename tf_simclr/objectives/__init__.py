"""Contrastive objectives: functions of the projections of a batch, one file each, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from tf_simclr import lookup
from tf_simclr.errors import UsageError
from tf_simclr.objectives.nt_xent import nt_xent
from tf_simclr.objectives.statistics import Contrast
from tf_simclr.replicas.gather import gather_replicas

__all__ = ["Contrast", "find", "gather_replicas", "nt_xent"]

_SHARED = ("anchors", "blockwise", "contrastive_clustering", "image_text", "statistics", "unit")


def find(name: str) -> Callable[..., Any]:
    """The function NAME of objectives/NAME.py, or the user's MODULE:FUNCTION.

    It takes projections [2n, d], view a first, and by name what it wants of `temperature`, `l2_normalize`,
    `negatives` and `block_size`; it returns loss, contrastive accuracy and entropy, as `Contrast` describes
    them.

    Raises:
        UsageError: there is none.
    """
    if ":" in name:
        return lookup.imported("objective", name)
    known = [module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED]
    if name not in known:
        raise UsageError(f"--objective={name}: give one of {', '.join(known)}, or MODULE:FUNCTION")
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)
