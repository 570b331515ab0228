"""Images that are not square, grey ones, and other numbers of channels, from the file to the batch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.small_runs import write_images
from tf_simclr import data
from tf_simclr.data.decoding import boxes_in, decode_for_boxes, in_channels
from tf_simclr.data.views import VIEW_UNIFORMS, evaluation_view, shrink_to_cover, view_boxes, views_of_boxes
from tf_simclr.image_size import ImageSize


def noise(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_images(tmp_path, {"train": 3})
    return f"folder:{tmp_path}"


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((40, 80), (25, 0, 50, 100)),  # wider than the image: as wide as it is
        ("80x40", (0, 25, 100, 50)),
        ((40, 40), (0, 0, 100, 100)),
    ],
)
def test_evaluation_takes_the_largest_crop_of_the_views_shape(
    size: ImageSize, box: tuple[int, int, int, int]
) -> None:
    image, (top, left, height, width) = noise(100, 100, 3), box
    view = evaluation_view(image, size, center_crop_fraction=1.0)
    crop = image[top : top + height, left : left + width]
    expected = tf.image.resize(crop, view.shape[:2], "bicubic") / 255.0
    np.testing.assert_allclose(view, np.clip(expected, 0, 1), atol=1e-6)


def test_a_share_of_the_crop_keeps_its_shape() -> None:
    image = noise(90, 200, 3)  # the largest of 1:2 is 90 x 180
    view = evaluation_view(image, (40, 80), center_crop_fraction=0.5)
    expected = tf.image.resize(image[23:68, 55:145], [40, 80], "bicubic") / 255.0
    np.testing.assert_allclose(view, np.clip(expected, 0, 1), atol=1e-6)


def test_resizing_first_covers_the_view() -> None:
    image = noise(100, 200, 3)
    view = evaluation_view(image, (20, 80), center_crop_fraction=1.0, resize_first=True)
    expected = tf.image.resize(image, [40, 80], "bicubic")[10:30] / 255.0
    np.testing.assert_allclose(view, np.clip(expected, 0, 1), atol=1e-5)


def test_small_views_by_their_shorter_side_keep_the_whole_crop() -> None:
    image = noise(50, 100, 3)
    whole, cropped = ({"center_crop_fraction": share} for share in (1.0, 0.875))
    np.testing.assert_array_equal(evaluation_view(image, "32x64"), evaluation_view(image, "32x64", **whole))
    np.testing.assert_array_equal(evaluation_view(image, "33x66"), evaluation_view(image, "33x66", **cropped))


@pytest.mark.parametrize("size", ["96x160", "160x96", 96])
def test_random_crops_are_stretched_by_no_more_than_those_of_squares(size: ImageSize) -> None:
    uniforms = tf.random.stateless_uniform([4000, VIEW_UNIFORMS], seed=[1, 2])
    boxes = view_boxes(uniforms, image_size=size)(500, 500).numpy()
    tall, wide = (96, 96) if size == 96 else map(int, size.split("x"))
    stretch = (boxes[:, 3] / boxes[:, 2]) / (wide / tall)
    assert stretch.min() == pytest.approx(3 / 4, abs=0.02)
    assert stretch.max() == pytest.approx(4 / 3, abs=0.02)


@pytest.mark.parametrize("size", [(100, 40), (40, 100)])
def test_a_jpeg_keeps_as_many_pixels_as_either_side_needs(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 400)).save(file, "JPEG")
    boxes = tf.constant([[0, 0, 400, 200 if size[1] == 40 else 400]])
    _, inside = decode_for_boxes(tf.constant(file.getvalue()), lambda height, width: boxes, size)
    np.testing.assert_array_equal(inside[:, 2:], boxes[:, 2:] // 4)  # 100 px of 400 either way


def test_a_cached_image_covers_the_view_and_no_more(folder: str) -> None:
    assert shrink_to_cover(noise(60, 90, 3), (20, 60)).shape == (40, 60, 3)
    assert shrink_to_cover(noise(50, 90, 3), (60, 20)).shape == (50, 90, 3)
    small = data.cached(data.open_source(folder, "train"), "4x8")  # 12 px a side; 1.15 times 4x8 is 5x9
    assert {small.decode(row["image"]).shape[:2] for row in small.records()} == {(9, 9)}


def test_files_of_another_shape_are_not_mixed_up(folder: str, tmp_path: Path) -> None:
    for size in ("4x8", "8x4", 8):
        for channels in (3, 1):
            data.cached(data.open_source(folder, "train", channels=channels), size, str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 6


def test_grey_is_luma_and_exact_where_an_image_is_grey() -> None:
    colour = noise(9, 7, 3)
    luma = colour.numpy() @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(in_channels(colour, 1)[..., 0], luma, atol=1.01)
    levels = np.arange(256, dtype=np.uint8)[None, :, None]
    np.testing.assert_array_equal(in_channels(tf.constant(np.repeat(levels, 3, 2)), 1), levels)
    np.testing.assert_array_equal(in_channels(colour, 3), colour)


@pytest.mark.parametrize("kind", ["plain", "part", "cached", "files"])
def test_every_source_decodes_to_the_channels_asked_for(kind: str, folder: str, tmp_path: Path) -> None:
    source = data.open_source(folder, "train", channels=1)
    if kind == "part":  # that a source was opened as
        source = data.open_source(folder, "train").subset(np.array([1, 2])).subset(np.array([0]))
        source.channels = 1
    elif kind != "plain":
        source = data.cached(source, 8, str(tmp_path / "cache") if kind == "files" else "")
    sampling = data.Sampling(image_size=(4, 8), batch_size=2, seed=0)
    batch = next(iter(data.pretraining_batches(source, sampling, num_uniforms=1)))
    assert batch["views"].shape == (2, 2, 4, 8, 1)
    assert next(iter(data.training_batches(source, sampling)))["image"].shape == (2, 4, 8, 1)
    assert next(iter(data.training_batches(source, sampling, augment=False)))["image"].shape == (2, 4, 8, 1)
    shown = next(iter(data.evaluation_batches(source, image_size="4x8", batch_size=1)))
    assert shown["image"].shape == (1, 4, 8, 1)


def test_crops_and_flips_treat_every_channel_alike() -> None:
    bands = noise(30, 40, 13)
    uniforms = tf.random.stateless_uniform([4, VIEW_UNIFORMS], seed=[0, 1])
    views = views_of_boxes(*boxes_in(bands, view_boxes(uniforms)), uniforms, 16)
    for band in (0, 12):
        alone = bands[..., band : band + 1]
        expected = views_of_boxes(*boxes_in(alone, view_boxes(uniforms)), uniforms, 16)
        np.testing.assert_array_equal(views[..., band : band + 1], expected)
    assert evaluation_view(bands, 16).shape == (16, 16, 13)
