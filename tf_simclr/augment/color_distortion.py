"""Colour distortion of a batch of views (SimCLR App. A), pixel operations by KerasCV, draws given."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.augment.by_chance import require_between
from tf_simclr.augment.keras_cv_layers import keras_cv_layers
from tf_simclr.augment.pixels import as_float, per_image
from tf_simclr.errors import UsageError

JITTER_PROBABILITY = 0.8  # App. A
GREY_PROBABILITY = 0.2  # App. A
OPERATIONS = ("brightness", "contrast", "saturation", "hue")  # in the order of App. A's listing
ORDERS = tuple(itertools.permutations(OPERATIONS))  # the 24 that order="random" draws from

# Saturation and hue touch different channels of HSV and so commute: every order of the four fits into
# five slots, numbered here, if an image takes each operation in one of them and its identity in the others.
_PIECES = (
    (("saturation",), 0),
    (("hue",), 0),
    (("brightness", "contrast"), 1),
    (("saturation",), 2),
    (("hue",), 2),
    (("brightness", "contrast"), 3),
    (("saturation",), 4),
    (("hue",), 4),
)

Factors = dict[str, tf.Tensor]


class ColorDistortion:
    """Random brightness, contrast, saturation and hue, then random grey (SimCLR App. A).

    KerasCV clips to [0, 1] after every operation, as the authors' code does; the paper's listing clips
    once, after the hue. The paper fixes the order and adds brightness; the authors' code by default
    draws an order and multiplies (SimCLRv2).

    Args:
        strength: s of App. A, between 0 and 2.5 (there the hue reaches half the circle).
        order: "fixed" (the paper's) or "random" (one of the 24 orders an image).
        brightness: "additive" (the paper's) or "multiplicative".
        saturation: its largest change, between 0 and 1; None: 0.8 s, as brightness and contrast have it
            (BYOL: 0.2 at s = 0.5).
        grey_probability: of an image to lose its colours, after the jitter.

    Raises:
        UsageError: an argument is none of these.
    """

    def __init__(
        self,
        strength: float = 1.0,
        order: str = "fixed",
        brightness: str = "additive",
        saturation: float | None = None,
        grey_probability: float = GREY_PROBABILITY,
    ) -> None:
        if not 0.0 <= strength <= 2.5:
            raise UsageError(f"--color_jitter_strength={strength}: give a number from 0 to 2.5.")
        if order not in ("fixed", "random"):
            raise UsageError(f"order of the colour jitter {order!r}: give fixed or random.")
        if brightness not in ("additive", "multiplicative"):
            raise UsageError(
                f"brightness of the colour jitter {brightness!r}: give additive or multiplicative."
            )
        if saturation is not None and not 0.0 <= saturation <= 1.0:
            raise UsageError(f"saturation of the colour jitter {saturation}: give a number from 0 to 1.")
        require_between("grey_probability", grey_probability, 0.0, 1.0)
        self.strength = float(strength)
        self.saturation = saturation
        self.order = order
        self.brightness = brightness
        self.grey_probability = float(grey_probability)
        self._drawn = ("jitter", *OPERATIONS, "grey") + (("order",) if order == "random" else ())
        layers = keras_cv_layers()  # their own factors are never drawn: each call here gives them
        self._brightness = layers.RandomBrightness(factor=0.0, value_range=(0.0, 1.0), dtype="float32")
        self._contrast = layers.RandomContrast(factor=0.0, value_range=(0.0, 1.0), dtype="float32")
        self._saturation = layers.RandomSaturation(factor=0.5, dtype="float32")
        self._hue = layers.RandomHue(factor=0.0, value_range=(0.0, 1.0), dtype="float32")
        self._grey = layers.Grayscale(output_channels=3, dtype="float32")
        self._jitter: Callable[..., tf.Tensor] = self._jitter_piece
        self._finish: Callable[..., tf.Tensor] = self._finish_piece

    @property
    def num_uniforms(self) -> int:
        """How many independent U[0, 1) numbers one view needs."""
        return len(self._drawn)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest factor of each operation (App. A); hue in turns of the full circle."""
        spread = 0.8 * self.strength
        around_one = (max(0.0, 1.0 - spread), 1.0 + spread)
        saturation = around_one if self.saturation is None else (1.0 - self.saturation, 1.0 + self.saturation)
        return {
            "brightness": (-spread, spread) if self.brightness == "additive" else around_one,
            "contrast": around_one,
            "saturation": saturation,
            "hue": (-0.2 * self.strength, 0.2 * self.strength),
        }

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> Factors:
        """Turns U[0, 1) numbers [..., num_uniforms] into factors, each [...].

        Returns:
            `jitter`, `grey`: bool; `brightness`, `contrast`, `saturation`, `hue`: float32; with
            order="random" also `order`: int32 index into `ORDERS`.
        """
        factors = dict(zip(self._drawn, tf.unstack(uniforms, num=self.num_uniforms, axis=-1), strict=True))
        for name, (low, high) in self.ranges().items():
            factors[name] = low + (high - low) * factors[name]
        factors["jitter"] = factors["jitter"] < JITTER_PROBABILITY
        factors["grey"] = factors["grey"] < self.grey_probability
        if self.order == "random":
            factors["order"] = tf.cast(factors["order"] * len(ORDERS), tf.int32)
        return factors

    def draw(self, batch_size: int, seed: Sequence[int] | tf.Tensor) -> Factors:
        """Factors of `batch_size` views, a function of `seed` (two integers) alone."""
        return self.factors_from_uniforms(tf.random.stateless_uniform([batch_size, self.num_uniforms], seed))

    def __call__(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        """Distorts RGB images [B, H, W, 3], uint8 or float32 in [0, 1], to float32 in [0, 1].

        Those drawn for nothing pass bit for bit.

        Raises:
            UsageError: images of other than three channels.
        """
        self.require_channels(images.shape[-1])
        *pieces, last = self._pieces_fixed(factors) if self.order == "fixed" else self._pieces_random(factors)
        jittered = images
        for piece in pieces:
            jittered = self._jitter(jittered, piece)
        return self._finish(images, jittered, last, factors["jitter"], factors["grey"])

    def require_channels(self, channels: int | None) -> None:
        """UsageError unless there are three (None: not known): hue, saturation and grey are of RGB."""
        if channels not in (3, None):
            raise UsageError(
                f"the colour distortion needs RGB, channels of the images are {channels}: give "
                "--color_jitter_strength=0, or no color in --augmentations"
            )

    def compiled(self) -> ColorDistortion:
        """The same, compiled by XLA in pieces that convert to HSV once at most.

        In one piece a conversion computes what comes before it again for each channel that it reads.
        """
        twin = copy.copy(self)
        twin._jitter = tf.function(self._jitter_piece, jit_compile=True)
        twin._finish = tf.function(self._finish_piece, jit_compile=True)
        return twin

    def _pieces_fixed(self, factors: Factors) -> list[Factors]:
        names = (("brightness", "contrast"), ("saturation",), ("hue",))
        return [{name: factors[name] for name in piece} for piece in names]

    def _pieces_random(self, factors: Factors) -> list[Factors]:
        slot_of = tf.gather(_slots_of_orders(), factors["order"])  # [B, 4]
        identity = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
        if self.brightness == "multiplicative":
            identity["brightness"] = 1.0

        def in_slot(name: str, slot: int) -> tf.Tensor:
            taken = slot_of[:, OPERATIONS.index(name)] == slot  # [B]
            return tf.where(taken, factors[name], identity[name])

        return [{name: in_slot(name, slot) for name in names} for names, slot in _PIECES]

    def _jitter_piece(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        images = as_float(images)
        for name in OPERATIONS:
            if name in factors:
                images = self._adjust(name, images, factors[name])
        return images

    def _finish_piece(
        self, images: tf.Tensor, jittered: tf.Tensor, factors: Factors, jitter: tf.Tensor, grey: tf.Tensor
    ) -> tf.Tensor:
        """The last piece of the jitter, and which of an image's versions is its result."""
        jittered = self._jitter_piece(jittered, factors)
        images = tf.where(per_image(jitter), jittered, as_float(images))
        return tf.where(per_image(grey), self._grey.augment_images(images), images)

    def _adjust(self, name: str, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        if name == "brightness" and self.brightness == "multiplicative":  # KerasCV has none
            return tf.clip_by_value(images * per_image(factor), 0.0, 1.0)
        if name == "brightness":
            return self._brightness.augment_images(images, per_image(factor))
        if name == "contrast":  # around each channel's mean, as tf.image
            return self._contrast.augment_images(images, per_image(factor))
        if name == "saturation":  # KerasCV multiplies by x / (1 - x)
            return self._saturation.augment_images(images, factor / (1.0 + factor))
        return self._hue.augment_images(images, factor)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "strength": self.strength,
            "order": self.order,
            "brightness": self.brightness,
            "saturation": self.saturation,
            "grey_probability": self.grey_probability,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ColorDistortion:
        """The layer that `get_config` described."""
        return cls(**config)


def _slots_of_orders() -> np.ndarray:
    """The slot in which each operation runs, int32 [24 orders, 4 operations]."""
    slots = np.zeros([len(ORDERS), len(OPERATIONS)], np.int32)
    for row, order in enumerate(ORDERS):
        affine_done = 0  # how many of brightness and contrast came before
        for name in order:
            affine = name in ("brightness", "contrast")
            slots[row, OPERATIONS.index(name)] = 2 * affine_done + affine
            affine_done += affine
    return slots
