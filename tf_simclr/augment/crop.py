"""Crop, resize and flip of views that are cropped already: the crop as an operation of Fig. 5."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.augment.by_chance import Factors, require_between
from tf_simclr.augment.pixels import as_float, per_image
from tf_simclr.data.resizing import interpolation
from tf_simclr.data.views import CROP_UNIFORMS, MIN_AREA, VIEW_UNIFORMS, random_crop_box


class Crop:
    """A random crop of a view, resized to the view's size and flipped with p = 0.5 (App. A).

    Box and resizing are those of the first crop; pixels are not rounded to bytes in between.

    Args:
        area_min: smallest area of the crop, as a fraction of the view's.
        flip: whether half of them are flipped.

    Raises:
        UsageError: the area is no fraction.
    """

    num_uniforms = VIEW_UNIFORMS

    def __init__(self, area_min: float = MIN_AREA, flip: bool = True) -> None:
        require_between("area_min", area_min, 0.0, 1.0)
        self.area_min, self.flip = float(area_min), bool(flip)

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> Factors:
        """Turns numbers [..., num_uniforms] into those of the box, `crop` [..., K], and `flip` [...]."""
        return {"crop": uniforms[..., :CROP_UNIFORMS], "flip": uniforms[..., CROP_UNIFORMS] < 0.5}

    def __call__(self, images: tf.Tensor, factors: Factors) -> tf.Tensor:
        """Crops images [B, H, W, 3], uint8 or float32 in [0, 1], of static H and W, to the same size.

        As products with matrices of interpolation weights: TensorFlow's resizing has no XLA kernel.
        """
        images = as_float(images)
        height, width = images.shape[1:3]
        boxes = random_crop_box(factors["crop"], height, width, (self.area_min, 1.0))
        top, left, high, wide = tf.unstack(boxes, axis=-1)
        planes = tf.transpose(images, [0, 3, 1, 2])  # [B, 3, H, W]
        planes = tf.matmul(_resizing(top, high, height), planes)
        planes = tf.matmul(planes, _resizing(left, wide, width), transpose_b=True)
        cropped = tf.clip_by_value(tf.transpose(planes, [0, 2, 3, 1]), 0.0, 1.0)
        if not self.flip:
            return cropped
        return tf.where(per_image(factors["flip"]), tf.reverse(cropped, axis=[2]), cropped)

    def compiled(self) -> Callable[..., tf.Tensor]:
        """The same call, compiled by XLA."""
        return tf.function(self.__call__, jit_compile=True)


def _resizing(start: tf.Tensor, length: tf.Tensor, size: int) -> tf.Tensor:
    """Bicubic resizing of the stretches [start, start + length), each [B], to `size`: [B, 1, size, size].

    Half-pixel centres, exact where tf.image.resize rounds them.
    """
    start, length = (tf.cast(value, tf.float32)[:, tf.newaxis, tf.newaxis] for value in (start, length))
    pixels = tf.range(size, dtype=tf.float32)
    centers = start + (pixels[:, tf.newaxis] + 0.5) * length / size - 0.5  # [B, size, 1], in source pixels
    return interpolation(centers, start, length, size)[:, tf.newaxis]
