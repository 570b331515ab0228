"""AutoAugment with the policy found on ImageNet (Cubuk et al., CVPR 2019, arXiv:1805.09501; Table 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_simclr.augment import tones, warps
from tf_simclr.augment.by_chance import Factors
from tf_simclr.augment.equalization import equalized
from tf_simclr.augment.pixels import as_float, per_image


class Step(NamedTuple):
    """An operation, its probability and its level from 0 to 9, which some ignore."""

    operation: str
    probability: float
    level: int = 0


POLICY = (  # Table 9 of the paper, sub-policies 0 to 24
    (Step("posterize", 0.4, 8), Step("rotate", 0.6, 9)),
    (Step("solarize", 0.6, 5), Step("auto_contrast", 0.6)),
    (Step("equalize", 0.8), Step("equalize", 0.6)),
    (Step("posterize", 0.6, 7), Step("posterize", 0.6, 6)),
    (Step("equalize", 0.4), Step("solarize", 0.2, 4)),
    (Step("equalize", 0.4), Step("rotate", 0.8, 8)),
    (Step("solarize", 0.6, 3), Step("equalize", 0.6)),
    (Step("posterize", 0.8, 5), Step("equalize", 1.0)),
    (Step("rotate", 0.2, 3), Step("solarize", 0.6, 8)),
    (Step("equalize", 0.6), Step("posterize", 0.4, 6)),
    (Step("rotate", 0.8, 8), Step("color", 0.4, 0)),
    (Step("rotate", 0.4, 9), Step("equalize", 0.6)),
    (Step("equalize", 0.0), Step("equalize", 0.8)),
    (Step("invert", 0.6), Step("equalize", 1.0)),
    (Step("color", 0.6, 4), Step("contrast", 1.0, 8)),
    (Step("rotate", 0.8, 8), Step("color", 1.0, 2)),
    (Step("color", 0.8, 8), Step("solarize", 0.8, 7)),
    (Step("sharpness", 0.4, 7), Step("invert", 0.6)),
    (Step("shear_x", 0.6, 5), Step("equalize", 1.0)),
    (Step("color", 0.4, 0), Step("equalize", 0.6)),
    (Step("equalize", 0.4), Step("solarize", 0.2, 4)),
    (Step("solarize", 0.6, 5), Step("auto_contrast", 0.6)),
    (Step("invert", 0.6), Step("equalize", 1.0)),
    (Step("color", 0.6, 4), Step("contrast", 1.0, 8)),
    (Step("equalize", 0.8), Step("equalize", 0.6)),
)
_HIGHEST = 9

MAGNITUDES = {  # at levels 0 and 9, linear in between (Table 6)
    "rotate": (0.0, math.radians(30.0)),
    "shear_x": (0.0, 0.3),
    "color": (0.0, 0.9),  # 1 plus it is Pillow's factor
    "contrast": (0.0, 0.9),
    "sharpness": (0.0, 0.9),
    "solarize": (1.0, 0.0),  # the threshold
    "posterize": (8.0, 4.0),  # bits that are kept
}
_SIGNED = ("rotate", "shear_x", "color", "contrast", "sharpness")
_OPERATIONS = {
    "rotate": warps.rotated,
    "shear_x": warps.sheared,
    "color": tones.saturated,
    "contrast": tones.contrasted,
    "sharpness": tones.sharpened,
    "solarize": tones.solarized,
    "posterize": tones.posterized,
    "auto_contrast": lambda images, _: tones.auto_contrasted(images),
    "equalize": lambda images, _: equalized(images),
    "invert": lambda images, _: 1.0 - images,
}


class AutoAugment:
    """One of 25 sub-policies an image; each of its two operations with its own probability.

    The paper varies the sign of a magnitude at random where it has one.
    """

    num_uniforms = 1 + 2 * 2  # the sub-policy; for each step, whether and with which sign

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> Factors:
        """Turns U[0, 1) numbers [..., 5] into, for the steps 0 and 1, each [...]:

        `drawn0` bool, `operation0` int32 index into the sorted names, `magnitude0` float32, and so on.
        """
        policy = tf.cast(uniforms[..., 0] * len(POLICY), tf.int32)
        factors: Factors = {}
        for number in (0, 1):
            steps = [own[number] for own in POLICY]
            drawn, sign = uniforms[..., 1 + 2 * number], uniforms[..., 2 + 2 * number]
            names = [step.operation for step in steps]
            signs = tf.where((sign < 0.5) & tf.gather([name in _SIGNED for name in names], policy), -1.0, 1.0)
            factors[f"drawn{number}"] = drawn < tf.gather([step.probability for step in steps], policy)
            factors[f"operation{number}"] = tf.gather([_NAMES.index(name) for name in names], policy)
            factors[f"magnitude{number}"] = signs * tf.gather([_magnitude(step) for step in steps], policy)
        return factors

    def __call__(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        """Augments images [B, H, W, 3], uint8 or float32 in [0, 1], of static H and W, to float32 in [0, 1].

        Every operation of the step is computed for all images: accelerators have no cheaper choice.
        """
        images = as_float(images)
        for number in (0, 1):
            drawn, operation = factors[f"drawn{number}"], factors[f"operation{number}"]
            before = images
            for name in sorted({own[number].operation for own in POLICY}):
                changed = _OPERATIONS[name](before, factors[f"magnitude{number}"])
                chosen = drawn & tf.equal(operation, _NAMES.index(name))
                images = tf.where(per_image(chosen), changed, images)
        return images

    def compiled(self) -> Callable[..., tf.Tensor]:
        """The same call in a graph: by XLA its convolution is slower on a CPU."""
        return tf.function(self.__call__)


_NAMES = sorted(_OPERATIONS)


def _magnitude(step: Step) -> float:
    lowest, highest = MAGNITUDES.get(step.operation, (0.0, 0.0))
    magnitude = lowest + (highest - lowest) * step.level / _HIGHEST
    return float(round(magnitude)) if step.operation == "posterize" else magnitude
