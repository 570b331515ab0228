"""From pixels to views: random crops, flips, and the evaluation crop.

Everything is deterministic given its `uniforms`. Bicubic resizing is `tf.image.resize` with half-pixel
centres and no antialiasing, as in the authors' code.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.data.decoding import Boxes
from tf_simclr.image_size import ImageSize, height_and_width

MIN_AREA = 0.08  # Sec. 3 and App. A
ASPECT_RANGE = (3 / 4, 4 / 3)  # App. A
CROP_CANDIDATES = 10
CROP_UNIFORMS = 2 * CROP_CANDIDATES + 2
VIEW_UNIFORMS = CROP_UNIFORMS + 1  # crop and flip
LARGEST_UNCROPPED = 32  # evaluation keeps the whole image at or below this size (authors' code)


def random_crop_box(
    uniforms: tf.Tensor,
    height: tf.Tensor | int,
    width: tf.Tensor | int,
    area_range: tuple[float, float] = (MIN_AREA, 1.0),
    aspect_range: tuple[float, float] = ASPECT_RANGE,
) -> tf.Tensor:
    """Random crop boxes (App. A).

    The area is uniform in `area_range` (a share of the image's), the aspect ratio width / height uniform in
    `aspect_range` (linear, as the authors' op draws it). Of ten candidates the first that fits is taken; when
    none does, the largest centre crop whose aspect lies in the range as far as whole pixels allow.

    Args:
      uniforms: float32 [..., CROP_UNIFORMS] in [0, 1).
      height, width: size of the image in pixels; or of one for each [...].

    Returns:
      int32 [..., 4]: top, left, height, width; always inside the image, never empty.
    """
    height_f, width_f = (tf.cast(side, tf.float32)[..., tf.newaxis] for side in (height, width))
    areas = _between(uniforms[..., :CROP_CANDIDATES], area_range) * height_f * width_f
    aspects = _between(uniforms[..., CROP_CANDIDATES:-2], aspect_range)
    sides = tf.round(tf.stack([tf.sqrt(areas / aspects), tf.sqrt(areas * aspects)], axis=-1))  # [..., 10, 2]
    sides = tf.maximum(sides, 1.0)
    limits = tf.concat([height_f, width_f], axis=-1)  # [..., 2]
    fits = tf.reduce_all(sides <= limits[..., tf.newaxis, :], axis=-1)  # [..., 10]
    first = tf.argmax(tf.cast(fits, tf.int32), axis=-1)
    chosen = tf.gather(sides, first, axis=-2, batch_dims=first.shape.rank)  # [..., 2]
    any_fits = tf.reduce_any(fits, axis=-1, keepdims=True)
    size = tf.where(any_fits, chosen, _largest_size(height_f, width_f, aspect_range))
    offset = tf.where(any_fits, uniforms[..., -2:], 0.5)
    corner = tf.minimum(tf.floor(offset * (limits - size + 1)), limits - size)
    return tf.cast(tf.concat([corner, size], axis=-1), tf.int32)


def _between(uniforms: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * uniforms


def _largest_size(height: tf.Tensor, width: tf.Tensor, aspect_range: tuple[float, float]) -> tf.Tensor:
    """The largest crop of height and width, each [..., 1], whose aspect is in the range: float32 [..., 2]."""
    aspect = tf.clip_by_value(width / height, *aspect_range)
    size = tf.concat(
        [tf.minimum(height, tf.round(width / aspect)), tf.minimum(width, tf.round(height * aspect))], axis=-1
    )
    return tf.maximum(size, 1.0)


def view_boxes(
    uniforms: tf.Tensor,
    crop_area_min: float = MIN_AREA,
    image_size: ImageSize = 1,
    crop_side: float = 0.0,
) -> Boxes:
    """The crops of an image's views: for each row of `uniforms` [..., VIEW_UNIFORMS] a box.

    App. A's aspects are those of square views. Others take them times their own, so that a view is stretched
    by 4/3 at most either way, as there, and the evaluation crop lies in the middle of what training sees.
    With `crop_side` all have that share of the sides and the views' own shape: a random shift.
    """
    tall, wide = height_and_width(image_size)
    low, high = (1.0, 1.0) if crop_side else ASPECT_RANGE
    areas = (crop_side**2, crop_side**2) if crop_side else (crop_area_min, 1.0)
    aspects = (low * (wide / tall), high * (wide / tall))
    return lambda height, width: random_crop_box(uniforms[..., :CROP_UNIFORMS], height, width, areas, aspects)


def views_of_boxes(
    pixels: tf.Tensor, boxes: tf.Tensor, uniforms: tf.Tensor, image_size: ImageSize, flip: bool = True
) -> tf.Tensor:
    """Crops, resizes and flips (p = 0.5) an image once for each of its boxes.

    Args:
      pixels: uint8 [h, w, C].
      boxes: int32 [V, 4] in it: top, left, height, width.
      uniforms: float32 [V, VIEW_UNIFORMS] in [0, 1).

    Returns:
      uint8 [V, H, W, C].
    """
    size = height_and_width(image_size)
    views = [_resized_crop(pixels, box, size) for box in tf.unstack(boxes, num=uniforms.shape[0])]
    if flip:
        flipped = tf.unstack(uniforms[:, CROP_UNIFORMS] < 0.5)
        views = [_flip_if(condition, view) for condition, view in zip(flipped, views, strict=True)]
    return tf.stack(views)


def _resized_crop(image: tf.Tensor, box: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    top, left, height, width = tf.unstack(box)
    crop = image[top : top + height, left : left + width]
    return to_uint8(tf.image.resize(crop, size, "bicubic"))


def _flip_if(condition: tf.Tensor, view: tf.Tensor) -> tf.Tensor:
    # At 224 px a negative stride takes 4 ms a view, tf.where 1.5, this 0.2.
    return tf.cond(condition, lambda: tf.reverse(view, axis=[1]), lambda: view)


def to_uint8(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds float pixels in 0..255 and clips what bicubic interpolation overshoots, in one pass."""
    quantized = tf.raw_ops.QuantizeV2(
        input=pixels,
        min_range=0.0,
        max_range=255.0,
        T=tf.quint8,
        mode="MIN_COMBINED",
        round_mode="HALF_AWAY_FROM_ZERO",
    )
    return tf.bitcast(quantized.output, tf.uint8)


def evaluation_view(
    image: tf.Tensor,
    image_size: ImageSize,
    center_crop_fraction: float | None = None,
    resize_first: bool = False,
) -> tf.Tensor:
    """The one view that evaluation and export see.

    By default a centre crop of 87.5% of the largest one of the view's shape (of a square: of the shorter
    side), then bicubic resizing (authors' code); views whose shorter side is 32 px at most keep all of it.
    With `resize_first` the image is resized until it just covers `image_size / center_crop_fraction`, then
    cropped: fraction 0.875 at 224 px is App. B.5's crop of 256, fraction 1.0 is App. B.8's.

    Args:
      image: uint8 [h, w, C].
      image_size: of the result, H x W.
      center_crop_fraction: share of the largest crop's sides that is kept.

    Returns:
      float32 [H, W, C] in [0, 1].
    """
    size = height_and_width(image_size)
    if center_crop_fraction is None:
        center_crop_fraction = 1.0 if min(size) <= LARGEST_UNCROPPED else 0.875
    if resize_first:
        covered = tuple(round(side / center_crop_fraction) for side in size)
        pixels = _center_crop(_resize_to_cover(image, covered), tf.constant(size))
    else:
        largest = _largest_of_shape(image, size)
        crop = tf.cast(tf.maximum(tf.round(center_crop_fraction * largest), 1.0), tf.int32)
        pixels = tf.image.resize(_center_crop(image, crop), size, "bicubic")
    pixels = tf.ensure_shape(pixels, [*size, image.shape[-1]])
    return tf.clip_by_value(pixels / 255.0, 0.0, 1.0)


def _largest_of_shape(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Height and width, float32 [2], of the largest rectangle in the image that is shaped like `size`."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    tall, wide = size
    return tf.stack([tf.minimum(height, width * (tall / wide)), tf.minimum(width, height * (wide / tall))])


def _center_crop(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    top, left = tf.unstack((tf.shape(image)[:2] - size + 1) // 2)
    return image[top : top + size[0], left : left + size[1]]


def _resize_to_cover(image: tf.Tensor, size: tuple[int, ...], antialias: bool = False) -> tf.Tensor:
    """The image resized, its shape kept, until it is as high and as wide as `size`, one of them just so."""
    own = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.maximum(tf.round(own * tf.reduce_max(tf.constant(size, tf.float32) / own)), size)
    return tf.image.resize(image, tf.cast(scaled, tf.int32), "bicubic", antialias=antialias)


def shrink_to_cover(image: tf.Tensor, image_size: ImageSize) -> tf.Tensor:
    """Shrinks an image (uint8 [h, w, C]) as far as it covers `image_size`, antialiased bicubic.

    Of a square: until its shorter side is at most that.
    """
    size = height_and_width(image_size)
    return tf.cond(
        tf.reduce_all(tf.shape(image)[:2] > size),
        lambda: to_uint8(_resize_to_cover(image, size, antialias=True)),
        lambda: image,
    )
