"""Decoding, random crops, flips and the evaluation crop."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_simclr.data.decoding import boxes_in, decode_for_boxes, decode_image
from tf_simclr.data.views import (
    CROP_UNIFORMS,
    VIEW_UNIFORMS,
    evaluation_view,
    random_crop_box,
    shrink_to_cover,
    to_uint8,
    view_boxes,
    views_of_boxes,
)


def _uniforms(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed=[seed, 1])


def _encoded(image: Image.Image, file_format: str, **options: object) -> tf.Tensor:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return tf.constant(buffer.getvalue())


def _gradient_image(height: int, width: int) -> tf.Tensor:
    """Red tells the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return tf.constant(np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    ("height", "width", "mean_area"), [(400, 400, 0.48), (375, 500, 0.44), (500, 375, 0.42)]
)
def test_crops_have_the_areas_and_aspects_of_appendix_a(height: int, width: int, mean_area: float) -> None:
    boxes = random_crop_box(_uniforms(20_000, CROP_UNIFORMS), height, width).numpy()
    area = boxes[:, 2] * boxes[:, 3] / (height * width)
    aspect = boxes[:, 3] / boxes[:, 2]
    assert 0.075 < area.min() < 0.085
    assert 0.95 < area.max() <= 1.0
    assert aspect.min() == pytest.approx(3 / 4, abs=0.02)
    assert aspect.max() == pytest.approx(4 / 3, abs=0.02)
    # Uniform areas would average 0.54; large ones fit few aspects, fewer still on an oblong image.
    assert area.mean() == pytest.approx(mean_area, abs=0.01)
    small = area < 0.5  # these always fit: uniform in area and linear in aspect
    assert area[small].mean() == pytest.approx((0.08 + 0.5) / 2, abs=0.01)
    assert aspect[small].mean() == pytest.approx((3 / 4 + 4 / 3) / 2, abs=0.01)


def test_crops_reach_every_corner() -> None:
    boxes = random_crop_box(_uniforms(5_000, CROP_UNIFORMS), 100, 60).numpy()
    assert boxes[:, 0].min() == 0
    assert (boxes[:, 0] + boxes[:, 2]).max() == 100
    assert boxes[:, 1].min() == 0
    assert (boxes[:, 1] + boxes[:, 3]).max() == 60
    slack = 60 - boxes[:, 3]
    assert (boxes[:, 1] / np.maximum(slack, 1))[slack > 20].mean() == pytest.approx(0.5, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    area_min=st.floats(0.01, 1.0),
    extreme=st.sampled_from([0.0, 0.5, 1 - 2**-24]),
    seed=st.integers(0, 2**31 - 1),
)
def test_boxes_lie_inside_any_image(
    height: int, width: int, area_min: float, extreme: float, seed: int
) -> None:
    uniforms = tf.concat([_uniforms(15, CROP_UNIFORMS, seed=seed), tf.fill([1, CROP_UNIFORMS], extreme)], 0)
    top, left, crop_height, crop_width = random_crop_box(uniforms, height, width, (area_min, 1.0)).numpy().T
    assert min(top.min(), left.min()) >= 0
    assert min(crop_height.min(), crop_width.min()) >= 1
    assert (top + crop_height).max() <= height
    assert (left + crop_width).max() <= width


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (1, 90, (0, 45, 1, 1)),
        (90, 1, (45, 0, 1, 1)),
        (60, 600, (0, 260, 60, 80)),
        (600, 60, (260, 0, 80, 60)),
    ],
)
def test_where_no_candidate_fits_the_largest_centre_crop_is_taken(
    height: int, width: int, box: tuple[int, ...]
) -> None:
    uniforms = tf.fill([CROP_UNIFORMS], 0.99)
    np.testing.assert_array_equal(random_crop_box(uniforms, height, width), box)


def random_views(image: tf.Tensor, uniforms: tf.Tensor, size: int, flip: bool = True) -> tf.Tensor:
    """The views of a decoded image."""
    return views_of_boxes(*boxes_in(image, view_boxes(uniforms)), uniforms, size, flip)


def test_views_are_bicubic_crops_of_the_decoded_image() -> None:
    image = tf.cast(_uniforms(40, 50, 3) * 256, tf.uint8)
    uniforms = _uniforms(2, VIEW_UNIFORMS, seed=3)
    views = random_views(image, uniforms, 24, flip=False)
    for view, row in zip(views.numpy(), uniforms, strict=True):
        top, left, height, width = random_crop_box(row[:CROP_UNIFORMS], 40, 50).numpy()
        crop = tf.cast(image, tf.float32)[None, top : top + height, left : left + width]
        expected = tf.image.resize(crop, [24, 24], "bicubic")[0]
        np.testing.assert_array_equal(view, np.clip(np.round(expected), 0, 255))


def test_half_of_the_views_are_flipped() -> None:
    image = _gradient_image(64, 64)
    flipped = random_views(image, _uniforms(600, VIEW_UNIFORMS), 8).numpy()
    upright = random_views(image, _uniforms(600, VIEW_UNIFORMS), 8, flip=False).numpy()
    reversed_ = flipped[:, 0, 0, 1] > flipped[:, 0, -1, 1]
    assert reversed_.mean() == pytest.approx(0.5, abs=0.08)
    np.testing.assert_array_equal(
        np.where(reversed_[:, None, None, None], upright[:, :, ::-1], upright), flipped
    )


def test_evaluation_crop_equals_the_authors(golden) -> None:
    values = np.load(golden / "eval_preprocess.npz")
    view = evaluation_view(tf.constant(values["image_uint8"]), 32, center_crop_fraction=0.875)
    np.testing.assert_allclose(view, values["center_crop_32"], atol=1e-5)


def test_evaluation_keeps_small_images_whole() -> None:
    image = tf.cast(_uniforms(32, 32, 3) * 256, tf.uint8)
    np.testing.assert_allclose(evaluation_view(image, 32), image.numpy() / 255.0, atol=1e-6)
    assert not np.allclose(evaluation_view(image, 33), tf.image.resize(image, [33, 33], "bicubic") / 255.0)


def test_evaluation_can_resize_before_it_crops() -> None:
    image = _gradient_image(100, 200)
    view = evaluation_view(image, 50, center_crop_fraction=1.0, resize_first=True)
    expected = tf.image.resize(image, [50, 100], "bicubic")[:, 25:75] / 255.0
    np.testing.assert_allclose(view, expected, atol=1e-5)
    narrower = evaluation_view(image, 50, center_crop_fraction=0.875, resize_first=True)  # 57 px, then 50
    expected = tf.image.resize(image, [57, 114], "bicubic")[4:54, 32:82] / 255.0
    np.testing.assert_allclose(narrower, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (3, 300)])
@pytest.mark.parametrize("resize_first", [False, True])
def test_evaluation_view_of_odd_images_has_the_size(shape: tuple[int, int], resize_first: bool) -> None:
    view = evaluation_view(_gradient_image(*shape), 40, resize_first=resize_first)
    assert view.shape == (40, 40, 3)
    assert 0 <= tf.reduce_min(view) <= tf.reduce_max(view) <= 1


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("L", "PNG"), ("LA", "PNG"),
     ("P", "PNG"), ("1", "PNG"), ("P", "GIF"), ("RGB", "BMP")],
)  # fmt: skip
def test_every_kind_of_image_decodes_to_three_channels(mode: str, file_format: str) -> None:
    image = decode_image(_encoded(Image.new("RGB", (9, 7), (200, 200, 200)).convert(mode), file_format))
    assert image.shape == (7, 9, 3)
    assert image.dtype == tf.uint8
    if mode in ("RGB", "L"):
        np.testing.assert_allclose(image, 200, atol=2)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    image = decode_image(_encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(image, np.broadcast_to([255, 0, 0], (4, 5, 3)))


def test_only_larger_images_are_shrunk() -> None:
    assert shrink_to_cover(_gradient_image(60, 90), 40).shape == (40, 60, 3)
    assert shrink_to_cover(_gradient_image(40, 90), 40).shape == (40, 90, 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-400, 700, width=32), min_size=1, max_size=50))
def test_floats_become_the_nearest_byte(pixels: list[float]) -> None:
    values = np.array(pixels, np.float32)
    away_from_ties = np.abs(values - np.floor(values) - 0.5) > 1e-3
    expected = np.clip(np.round(values), 0, 255)
    np.testing.assert_array_equal(to_uint8(values).numpy()[away_from_ties], expected[away_from_ties])


def _photo(height: int, width: int) -> Image.Image:
    """Smooth, so that JPEG keeps it closely."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 / height, columns * 255 / width, 128 + 0 * rows], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def _crop(image: tf.Tensor, box: np.ndarray) -> tf.Tensor:
    top, left, height, width = box
    return image[top : top + height, left : left + width]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_decoded_around_its_boxes_only(mode: str) -> None:
    encoded = _encoded(_photo(90, 70).convert(mode), "JPEG", quality=90)
    boxes = tf.constant([[16, 8, 40, 30], [30, 20, 35, 41]])
    pixels, moved = decode_for_boxes(encoded, lambda height, width: boxes, 32)
    assert pixels.shape == (49, 53, 3)
    whole = decode_image(encoded).numpy()
    for box, inside in zip(boxes.numpy(), moved.numpy(), strict=True):
        np.testing.assert_array_equal(_crop(pixels, inside), _crop(whole, box))


@pytest.mark.parametrize(("side", "ratio"), [(150, 1), (64, 2), (40, 4), (8, 8), (1, 8)])
def test_a_jpeg_shrinks_while_it_is_decoded_as_far_as_its_boxes_allow(side: int, ratio: int) -> None:
    encoded = _encoded(_photo(501, 403), "JPEG", quality=95)
    boxes = tf.constant([[101, 51, 400, 352], [0, 0, 160, 200]])
    pixels, moved = decode_for_boxes(encoded, lambda height, width: boxes, side)
    np.testing.assert_array_equal(moved[:, 2:], boxes[:, 2:] // ratio)
    whole = tf.cast(decode_image(encoded), tf.float32)
    for box, inside in zip(boxes.numpy(), moved.numpy(), strict=True):
        expected = tf.image.resize(_crop(whole, box), inside[2:], "area")
        crop = tf.cast(_crop(pixels, inside), tf.float32)
        assert float(tf.reduce_mean(tf.abs(crop - expected))) < 3


def test_other_formats_are_decoded_whole() -> None:
    encoded = _encoded(_photo(90, 70), "PNG")
    boxes = tf.constant([[1, 2, 80, 60]])
    pixels, same = decode_for_boxes(encoded, lambda height, width: boxes, 8)
    np.testing.assert_array_equal(pixels, decode_image(encoded))
    np.testing.assert_array_equal(same, boxes)


def test_crops_of_one_side_are_shifts_of_whole_pixels() -> None:
    """CURL's: 84 of 100 pixels at any of the 17 x 17 places, the channels together."""
    uniforms = _uniforms(3_000, VIEW_UNIFORMS)
    boxes = view_boxes(uniforms, image_size=84, crop_side=0.84)(100, 100).numpy()
    assert {tuple(size) for size in boxes[:, 2:]} == {(84, 84)}
    places, counts = np.unique(boxes[:, 0], return_counts=True)
    assert places.tolist() == list(range(17)) == np.unique(boxes[:, 1]).tolist()
    assert counts.min() > 0.6 * 3_000 / 17
    image = tf.cast(tf.random.stateless_uniform([100, 100, 3], [0, 1], maxval=256, dtype=tf.int32), tf.uint8)
    views = views_of_boxes(image, tf.constant(boxes[:4]), uniforms[:4], 84, flip=False)
    for view, (top, left, _, _) in zip(views, boxes, strict=False):
        np.testing.assert_array_equal(view, image[top : top + 84, left : left + 84])
    tall = view_boxes(uniforms[:9], image_size=(8, 16), crop_side=0.5)(100, 200).numpy()
    assert {tuple(size) for size in tall[:, 2:]} == {(50, 100)}
