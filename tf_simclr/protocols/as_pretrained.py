"""Crops and colours as the pretraining of --checkpoint made them."""

from __future__ import annotations

from tf_simclr import lookup
from tf_simclr.augment import ColorDistortion
from tf_simclr.config import Config, stored
from tf_simclr.runs import build


def views(config: Config) -> Config:
    """`config` with the crops and augmentations of the pretraining.

    Where there was none, the paper's; of images that are not RGB without colours.
    """
    source = stored.with_source(config).pretrained_by
    tree = source and stored.pretraining(source)
    if not tree:
        return config if config.data.channels == 3 else config.replace(color_jitter_strength=0.0)
    told = {name: value for group in ("views", "augmentation") for name, value in tree.get(group, {}).items()}
    return config.replace(**told)


def colours(config: Config) -> list[ColorDistortion]:
    """The colour distortion of the first of those views, in a list; an empty one where it has none."""
    first = lookup.split(config.augmentation.augmentations, "|")[0]
    made = build.augmentations(config.replace(augmentations=first, one_branch=False), 1).layers
    return [one for one in made if isinstance(one, ColorDistortion)]
