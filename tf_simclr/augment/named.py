"""Augmentations as `--augmentations` writes them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tf_simclr import lookup
from tf_simclr.augment.augmentations import Operation
from tf_simclr.augment.auto_augment import AutoAugment
from tf_simclr.augment.color_distortion import ColorDistortion
from tf_simclr.augment.color_drop import ColorDrop
from tf_simclr.augment.crop import Crop
from tf_simclr.augment.cutout import Cutout
from tf_simclr.augment.equalization import Equalization
from tf_simclr.augment.gaussian_blur import GaussianBlur
from tf_simclr.augment.gaussian_noise import GaussianNoise
from tf_simclr.augment.motion_blur import MotionBlur
from tf_simclr.augment.rotation import Rotation
from tf_simclr.augment.sobel import Sobel
from tf_simclr.augment.solarization import Solarization
from tf_simclr.errors import UsageError

FLAG = "augmentations"
CROP = "crop"
OPERATIONS: dict[str, Any] = {
    CROP: Crop,
    "color": ColorDistortion,
    "color_jitter": functools.partial(ColorDistortion, grey_probability=0.0),
    "color_drop": ColorDrop,
    "blur": GaussianBlur,
    "cutout": Cutout,
    "sobel": Sobel,
    "noise": GaussianNoise,
    "rotate": Rotation,
    "solarize": Solarization,
    "equalize": Equalization,
    "motion_blur": MotionBlur,
    "auto_augment": AutoAugment,
}


def operations(
    text: str, num_views: int, one_branch: bool = False, crop: Callable[..., Operation] = Crop
) -> list[list[Operation]]:
    """The operations of each view in `crop,color(strength=0.5),blur|color,MODULE:FUNCTION(key=value)`.

    One list, with no |, is every view's. `none` stands for an empty one. All views are crops before the
    device has them: `crop` at the front of a list is that first crop, and no operation more. Behind another
    operation, or with `one_branch`, it is one that `crop` makes.

    Args:
        text: what the flag says.
        num_views: the method's.
        one_branch: the list is that of the first view alone; the others have none.
        crop: makes a crop of a view.

    Raises:
        UsageError: a name that is not known, arguments that it does not take, or another number of views.
    """
    lists = [[word for word in lookup.split(view, ",") if word != "none"] for view in lookup.split(text, "|")]
    if len(lists) not in (1, num_views):
        raise UsageError(f"--{FLAG}={text}: has lists for {len(lists)} views in place of {num_views}")
    if one_branch and len(lists) > 1:
        raise UsageError(f"--{FLAG}={text}: --one_branch takes one list, without |")
    if not one_branch:
        return [[_operation(word, crop) for word in _after_the_first_crop(words)] for words in lists]
    return [[_operation(word, crop) for word in lists[0]], *([] for _ in range(num_views - 1))]


def _after_the_first_crop(words: list[str]) -> list[str]:
    if not words or lookup.parse(FLAG, words[0]).name != CROP:
        return words
    if words[0] != CROP:
        raise UsageError(
            f"--{FLAG}: {words[0]}: the first crop has the flags --crop_area_min and --use_flip; give crop"
        )
    return words[1:]


def _operation(word: str, crop: Callable[..., Operation]) -> Operation:
    made = lookup.call(FLAG, word, OPERATIONS | {CROP: crop})
    if not (callable(made) and hasattr(made, "num_uniforms") and hasattr(made, "factors_from_uniforms")):
        raise UsageError(f"--{FLAG}: {word} makes no operation: see tf_simclr.augment.Operation")
    return made
