"""The transformations of Table 3: views of which some had one done to them, and which had (Sec. 4.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.augment import Augmentations, ColorDistortion
from tf_simclr.augment.by_chance import ByChance, Factors
from tf_simclr.augment.color_distortion import GREY_PROBABILITY
from tf_simclr.augment.color_drop import ColorDrop
from tf_simclr.augment.gaussian_noise import GaussianNoise
from tf_simclr.augment.rotation import Rotation
from tf_simclr.augment.sobel import Sobel
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.image_size import height_and_width
from tf_simclr.protocols import as_pretrained

COLOR, ROTATION = "color", "rotation"


@dataclasses.dataclass(frozen=True)
class Transformation:
    """One row of Table 3.

    Attributes:
      title: what is to be told apart.
      operation: draws the transformation of a view.
      label: factors of the operation to classes, [b] each.
      num_classes: how many.
      chance: percent right by naming the most frequent class.
      paper: Table 3's percent from h and from g(h).
    """

    title: str
    operation: ByChance
    label: Callable[[Factors], tf.Tensor]
    num_classes: int
    chance: float
    paper: tuple[float, float]


def _was_drawn(factors: Factors) -> tf.Tensor:
    return factors["drawn"]


def _quarters(factors: Factors) -> tf.Tensor:
    return tf.where(factors["drawn"], factors["quarters"], 0)


def named(name: str) -> Transformation:
    """The transformation of that name: those of --transformations."""
    makers: dict[str, Callable[[], Transformation]] = {
        COLOR: lambda: Transformation(
            "colour or grey", ColorDrop(), _was_drawn, 2, 100 * (1 - GREY_PROBABILITY), (99.3, 97.4)
        ),
        ROTATION: lambda: Transformation(
            "rotation by 0, 90, 180, 270", Rotation(0.75), _quarters, 4, 25.0, (67.6, 25.6)
        ),
        "noise": lambda: Transformation(
            "original or corrupted", GaussianNoise(0.5), _was_drawn, 2, 50.0, (99.5, 59.6)
        ),
        "sobel": lambda: Transformation("original or Sobel", Sobel(0.5), _was_drawn, 2, 50.0, (96.6, 56.3)),
    }
    return makers[name]()


def names(config: Config) -> list[str]:
    """Those of --transformations.

    Raises:
        UsageError: one is not for images of this size or these channels.
    """
    found = [name.strip() for name in config.transforming.transformations.split(",")]
    height, width = height_and_width(config.data.image_size)
    if ROTATION in found and height != width:
        raise UsageError(
            f"--transformations: rotation is of square images, not {height}x{width}; leave it out"
        )
    if COLOR in found and config.data.channels != 3:
        raise UsageError(
            f"--transformations: color is of RGB, not --channels={config.data.channels}; leave it out"
        )
    return found


def colours(config: Config, name: str) -> list[ColorDistortion]:
    """Those of the pretraining; where grey is to be named, they leave it to the transformation."""
    found = as_pretrained.colours(config)
    if name != COLOR:
        return found
    return [
        ColorDistortion(one.strength, one.order, one.brightness, one.saturation, grey_probability=0.0)
        for one in found
    ]


def transformed(config: Config, name: str, source: Source, count: int) -> Iterator[dict[str, tf.Tensor]]:
    """Views of `count` images of `source`, cropped and coloured as in pretraining, then transformed or not.

    Args:
        config: as `as_pretrained.views` gives it; its seed is that of order and draws.

    Yields:
        {"image": float32 [b, H, W, C] in [0, 1], "label": int64 [b], "id": string [b]}, the label that of the
        transformation; the last batch may be smaller.
    """
    done, size = named(name), config.data.eval_batch_size
    painted = Augmentations([*colours(config, name), done.operation])
    own = config.replace(train_batch_size=size, augment="crop", one_branch=False)
    batches = inputs.training_batches(own, source, painted.num_uniforms)(0)
    for start, batch in zip(range(0, count, size), batches):  # noqa: B905 (these never end)
        kept, uniforms = min(size, count - start), batch["uniforms"]
        factors = done.operation.factors_from_uniforms(uniforms[:, -done.operation.num_uniforms :])
        yield {
            "image": painted(batch["image"], uniforms)[:kept],
            "label": tf.cast(done.label(factors), tf.int64)[:kept],
            "id": tf.as_string(tf.range(start, start + kept)),
        }
