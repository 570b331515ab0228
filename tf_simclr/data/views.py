"""From pixels to views: random crops, flips, and the evaluation crop.

Everything is deterministic given its `uniforms`. Bicubic resizing is `tf.image.resize` with half-pixel
centres and no antialiasing, as in the authors' code.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.data.decoding import Boxes

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
      height, width: size of the image in pixels.

    Returns:
      int32 [..., 4]: top, left, height, width; always inside the image, never empty.
    """
    height_f, width_f = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    areas = _between(uniforms[..., :CROP_CANDIDATES], area_range) * height_f * width_f
    aspects = _between(uniforms[..., CROP_CANDIDATES:-2], aspect_range)
    sides = tf.round(tf.stack([tf.sqrt(areas / aspects), tf.sqrt(areas * aspects)], axis=-1))  # [..., 10, 2]
    sides = tf.maximum(sides, 1.0)
    limits = tf.stack([height_f, width_f])
    fits = tf.reduce_all(sides <= limits, axis=-1)  # [..., 10]
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
    """Height and width of the largest crop whose aspect is in the range, float32 [2]."""
    aspect = tf.clip_by_value(width / height, *aspect_range)
    size = tf.stack(
        [tf.minimum(height, tf.round(width / aspect)), tf.minimum(width, tf.round(height * aspect))]
    )
    return tf.maximum(size, 1.0)


def view_boxes(uniforms: tf.Tensor, crop_area_min: float = MIN_AREA) -> Boxes:
    """The crops of an image's views: for each row of `uniforms` [V, VIEW_UNIFORMS] a box."""
    return lambda height, width: random_crop_box(
        uniforms[:, :CROP_UNIFORMS], height, width, (crop_area_min, 1.0)
    )


def views_of_boxes(
    pixels: tf.Tensor, boxes: tf.Tensor, uniforms: tf.Tensor, image_size: int, flip: bool = True
) -> tf.Tensor:
    """Crops, resizes and flips (p = 0.5) an image once for each of its boxes.

    Args:
      pixels: uint8 [h, w, 3].
      boxes: int32 [V, 4] in it: top, left, height, width.
      uniforms: float32 [V, VIEW_UNIFORMS] in [0, 1).

    Returns:
      uint8 [V, image_size, image_size, 3].
    """
    views = [_resized_crop(pixels, box, image_size) for box in tf.unstack(boxes, num=uniforms.shape[0])]
    if flip:
        flipped = tf.unstack(uniforms[:, CROP_UNIFORMS] < 0.5)
        views = [_flip_if(condition, view) for condition, view in zip(flipped, views, strict=True)]
    return tf.stack(views)


def _resized_crop(image: tf.Tensor, box: tf.Tensor, image_size: int) -> tf.Tensor:
    top, left, height, width = tf.unstack(box)
    crop = image[top : top + height, left : left + width]
    return to_uint8(tf.image.resize(crop, [image_size, image_size], "bicubic"))


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
    image_size: int,
    center_crop_fraction: float | None = None,
    resize_first: bool = False,
) -> tf.Tensor:
    """The one view that evaluation and export see.

    By default a square centre crop of 87.5% of the shorter side, then bicubic resizing (authors' code); at or
    below 32 px the whole shorter side is kept. With `resize_first` the shorter side is resized to
    `image_size / center_crop_fraction`, then cropped: fraction 0.875 at 224 px is App. B.5's crop of 256,
    fraction 1.0 is App. B.8's.

    Args:
      image: uint8 [h, w, 3].
      image_size: side of the result in pixels.
      center_crop_fraction: share of the shorter side that is kept.

    Returns:
      float32 [image_size, image_size, 3] in [0, 1].
    """
    if center_crop_fraction is None:
        center_crop_fraction = 1.0 if image_size <= LARGEST_UNCROPPED else 0.875
    if resize_first:
        resized = _resize_shorter_side(image, round(image_size / center_crop_fraction))
        pixels = _center_crop(resized, tf.constant(image_size))
    else:
        shorter = tf.cast(tf.reduce_min(tf.shape(image)[:2]), tf.float32)
        side = tf.cast(tf.maximum(tf.round(center_crop_fraction * shorter), 1.0), tf.int32)
        pixels = tf.image.resize(_center_crop(image, side), [image_size, image_size], "bicubic")
    pixels = tf.ensure_shape(pixels, [image_size, image_size, 3])
    return tf.clip_by_value(pixels / 255.0, 0.0, 1.0)


def _center_crop(image: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    top, left = tf.unstack((tf.shape(image)[:2] - side + 1) // 2)
    return image[top : top + side, left : left + side]


def _resize_shorter_side(image: tf.Tensor, side: int, antialias: bool = False) -> tf.Tensor:
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.round(size * (side / tf.reduce_min(size)))
    return tf.image.resize(image, tf.cast(tf.maximum(scaled, side), tf.int32), "bicubic", antialias=antialias)


def limit_shorter_side(image: tf.Tensor, side: int) -> tf.Tensor:
    """Shrinks an image (uint8 [h, w, 3]) until its shorter side is at most `side`, antialiased bicubic."""
    return tf.cond(
        tf.reduce_min(tf.shape(image)[:2]) > side,
        lambda: to_uint8(_resize_shorter_side(image, side, antialias=True)),
        lambda: image,
    )
