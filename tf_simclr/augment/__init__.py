"""Augmentations that run on the device, on whole batches, with the randomness given."""

from __future__ import annotations

from tf_simclr.augment.augmentations import Augmentations, Operation
from tf_simclr.augment.color_distortion import ColorDistortion
from tf_simclr.augment.crop import Crop
from tf_simclr.augment.gaussian_blur import GaussianBlur
from tf_simclr.augment.named import operations
from tf_simclr.augment.solarization import Solarization

__all__ = [
    "Augmentations",
    "ColorDistortion",
    "Crop",
    "GaussianBlur",
    "Operation",
    "Solarization",
    "operations",
]
