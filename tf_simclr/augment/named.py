"""Augmentations as `--augmentations` writes them."""

from __future__ import annotations

from typing import Any

from tf_simclr import lookup
from tf_simclr.augment.augmentations import Operation
from tf_simclr.augment.color_distortion import ColorDistortion
from tf_simclr.augment.gaussian_blur import GaussianBlur
from tf_simclr.augment.solarization import Solarization
from tf_simclr.errors import UsageError

FLAG = "augmentations"
OPERATIONS: dict[str, Any] = {"color": ColorDistortion, "blur": GaussianBlur, "solarize": Solarization}


def operations(text: str, num_views: int) -> list[list[Operation]]:
    """The operations of each view in `color(strength=0.5),blur|color,MODULE:FUNCTION(key=value)`.

    One list, with no |, is every view's. `none` stands for an empty one.

    Raises:
        UsageError: a name that is not known, arguments that it does not take, or another number of views.
    """
    lists = [[word for word in lookup.split(view, ",") if word != "none"] for view in lookup.split(text, "|")]
    if len(lists) not in (1, num_views):
        raise UsageError(f"--{FLAG}={text}: has lists for {len(lists)} views, the method has {num_views}")
    return [[_operation(word) for word in words] for words in lists]


def _operation(word: str) -> Operation:
    made = lookup.call(FLAG, word, OPERATIONS)
    if not (callable(made) and hasattr(made, "num_uniforms") and hasattr(made, "factors_from_uniforms")):
        raise UsageError(f"--{FLAG}: {word} makes no operation: see tf_simclr.augment.Operation")
    return made
