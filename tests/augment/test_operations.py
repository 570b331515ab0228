"""Operations of Fig. 5 and App. B.2 against NumPy, SciPy and Pillow; what they draw; compiled or not."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from scipy import ndimage, stats

from tf_simclr.augment import Augmentations
from tf_simclr.augment.color_drop import ColorDrop
from tf_simclr.augment.crop import Crop
from tf_simclr.augment.cutout import Cutout
from tf_simclr.augment.equalization import Equalization
from tf_simclr.augment.gaussian_noise import GaussianNoise
from tf_simclr.augment.motion_blur import MotionBlur, line_kernels
from tf_simclr.augment.named import OPERATIONS
from tf_simclr.augment.rotation import Rotation
from tf_simclr.augment.sobel import Sobel
from tf_simclr.augment.solarization import Solarization
from tf_simclr.data.views import CROP_UNIFORMS, random_crop_box
from tf_simclr.errors import UsageError

DRAWS = 20_000


def photographs(count: int = 4, side: int = 24) -> np.ndarray:
    """Smooth colourful bytes with the full range of levels."""
    noise = np.random.default_rng(0).normal(size=[count, side, side, 3])
    smooth = ndimage.gaussian_filter(noise, [0, 3, 3, 0])
    low, high = smooth.min((1, 2, 3), keepdims=True), smooth.max((1, 2, 3), keepdims=True)
    return np.round(255 * (smooth - low) / (high - low)).astype(np.uint8)


def changed(operation: Any, images: np.ndarray, **factors: Any) -> np.ndarray:
    """The images as the operation changes all of them with these factors."""
    drawn = {"drawn": tf.fill([len(images)], True)}
    return operation(
        tf.constant(images), drawn | {key: tf.constant(value) for key, value in factors.items()}
    ).numpy()


def test_crop_equals_slicing_resizing_and_flipping() -> None:
    """TensorFlow rounds a weight's distance to a 1024th of a pixel."""
    images = photographs(16)
    factors = Crop().factors_from_uniforms(tf.random.stateless_uniform([16, Crop.num_uniforms], [1, 2]))
    cropped = Crop()(images, factors).numpy()
    boxes = random_crop_box(factors["crop"], 24, 24).numpy()
    for image, (top, left, height, width), flip, ours in zip(
        images, boxes, factors["flip"].numpy(), cropped, strict=True
    ):
        part = image[top : top + height, left : left + width] / np.float32(255)
        expected = np.clip(tf.image.resize(part, [24, 24], "bicubic"), 0, 1)
        np.testing.assert_allclose(ours, expected[:, ::-1] if flip else expected, atol=1e-4)
    assert factors["flip"].numpy().any()
    assert not factors["flip"].numpy().all()


def test_crop_takes_the_whole_view_and_leaves_out_the_flip() -> None:
    uniforms = tf.concat([tf.ones([2, 10]), tf.fill([2, 10], 3 / 7), tf.zeros([2, 3])], axis=1)  # aspect 1
    whole = Crop(area_min=1.0, flip=False)
    assert uniforms.shape[1] == whole.num_uniforms == CROP_UNIFORMS + 1
    images = photographs(2)
    np.testing.assert_allclose(whole(images, whole.factors_from_uniforms(uniforms)), images / 255, atol=1e-5)


@pytest.mark.parametrize("size", [0.25, 0.5])
def test_cutout_paints_a_grey_square(size: float) -> None:
    images, side = photographs(), round(24 * size)
    y, x = np.float32([0.0, 0.5, 0.99, 0.2]), np.float32([0.3, 0.5, 0.99, 0.0])
    cut = changed(Cutout(size=size), images, y=y, x=x)
    for number, expected in enumerate(images / np.float32(255)):
        top, left = (math.ceil(int(at[number] * 24) - side / 2) for at in (y, x))
        expected[max(top, 0) : top + side, max(left, 0) : left + side] = 0.5
        np.testing.assert_allclose(cut[number], expected, atol=1e-6)


def test_colours_are_dropped_to_luma() -> None:
    images = photographs()
    luma = (images / 255) @ [0.2989, 0.5870, 0.1140]
    np.testing.assert_allclose(changed(ColorDrop(), images), np.repeat(luma[..., None], 3, 3), atol=1e-5)


def test_jitter_alone_never_drops_colours() -> None:
    jitter = OPERATIONS["color_jitter"](strength=0.5)
    drawn = jitter.draw(DRAWS, [1, 2])
    assert not drawn["grey"].numpy().any()
    assert np.mean(drawn["jitter"]) == pytest.approx(0.8, abs=0.01)
    assert np.mean(OPERATIONS["color"]().draw(DRAWS, [1, 2])["grey"]) == pytest.approx(0.2, abs=0.01)


def test_sobel_equals_scipy() -> None:
    images = photographs() / np.float32(255)
    edges = changed(Sobel(), images)
    for number, channel in itertools.product(range(4), range(3)):
        plane = images[number, ..., channel]
        down, across = (ndimage.sobel(plane, axis, mode="mirror") for axis in (0, 1))
        expected = np.minimum(np.hypot(down, across), 1)
        np.testing.assert_allclose(edges[number, ..., channel], expected, atol=1e-5)


def test_noise_is_normal_and_another_in_every_number() -> None:
    grey = np.full([64, 16, 16, 3], 0.5, np.float32)
    layer = GaussianNoise(stddev=0.1)
    factors = layer.factors_from_uniforms(tf.random.stateless_uniform([64, 3], [1, 2]))
    noise = layer(grey, factors).numpy() - 0.5
    inside = noise[np.abs(noise) < 0.49]
    assert stats.kstest(inside, stats.norm(0, 0.1).cdf).pvalue > 1e-3
    rows = noise.reshape(64, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(64)).max() < 0.2
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03
    alone = layer(grey[:1], {name: values[5:6] for name, values in factors.items()}).numpy() - 0.5
    np.testing.assert_array_equal(alone[0], noise[5])


def test_rotation_equals_numpy_and_draws_each_quarter_as_often() -> None:
    images = photographs(3)
    turned = changed(Rotation(), images, quarters=[1, 2, 3])
    for quarters, image, ours in zip((1, 2, 3), images, turned, strict=True):
        np.testing.assert_allclose(ours, np.rot90(image, quarters) / 255, atol=1e-6)
    uniforms = tf.random.stateless_uniform([DRAWS, 2], [3, 4])
    counts = np.bincount(Rotation().factors_from_uniforms(uniforms)["quarters"], minlength=4)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3


def test_equalisation_equals_pillow() -> None:
    images = photographs()
    images[1] //= 3  # dark
    images[2, ..., 0] = 77  # one level
    images[3, :20] = 255  # the brightest level is the most frequent
    ours = np.round(255 * changed(Equalization(), images))
    for image, equalized in zip(images, ours, strict=True):
        np.testing.assert_array_equal(equalized, ImageOps.equalize(Image.fromarray(image)))


def test_solarisation_equals_pillow() -> None:
    images = photographs()
    ours = Solarization(threshold=100 / 255)(images, {"solarize": tf.fill([4], True)}) * 255
    for image, solarized in zip(images, ours.numpy(), strict=True):
        np.testing.assert_allclose(solarized, ImageOps.solarize(Image.fromarray(image), 100), atol=1e-3)


def test_motion_blur_equals_scipy() -> None:
    images = photographs(4, side=40) / np.float32(255)
    angles = np.float32([0.0, 0.7, math.pi / 2, 2.5])
    blurred = changed(MotionBlur(), images, angle=angles)
    for image, kernel, ours in zip(
        images, line_kernels(tf.constant(angles), 2).numpy(), blurred, strict=True
    ):
        expected = ndimage.correlate(image, kernel[:, :, None], mode="constant")
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_lines_have_their_length_and_angle() -> None:
    angles = np.float32([0.0, 0.3, math.pi / 2, 2.0])
    kernels = line_kernels(tf.constant(angles), radius=11).numpy()
    np.testing.assert_allclose(kernels.sum((1, 2)), 1.0, rtol=1e-5)
    y, x = np.mgrid[11:-12:-1, -11:12]  # y upwards
    for kernel, angle in zip(kernels, angles, strict=True):
        along = (kernel * (x * math.cos(angle) + y * math.sin(angle)) ** 2).sum()
        across = (kernel * (y * math.cos(angle) - x * math.sin(angle)) ** 2).sum()
        assert along == pytest.approx(11**2 / 3, rel=0.05)  # of a uniform line from -11 to 11
        assert across < 0.4


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - {"crop", "color", "color_jitter", "auto_augment"}))
def test_images_are_changed_with_the_probability_and_others_pass_bit_for_bit(name: str) -> None:
    layer = OPERATIONS[name](probability=0.3)
    images = tf.constant(photographs(64) / np.float32(255))
    uniforms = tf.random.stateless_uniform([64, layer.num_uniforms], [5, 6])
    same = layer(images, layer.factors_from_uniforms(uniforms)).numpy() == images.numpy()
    np.testing.assert_array_equal(same.all((1, 2, 3)), uniforms[:, 0] >= 0.3)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "auto_augment")) for name in sorted(OPERATIONS)],
)
def test_compiled_by_itself_or_in_a_step_equals_plain(name: str) -> None:
    """Rounding may move a pixel across a threshold of AutoAugment: a few then differ."""
    layers = [OPERATIONS[name]()]
    plain, compiled = Augmentations(layers, jit_compile=False), Augmentations(layers)
    views = tf.constant(photographs(8))
    uniforms = tf.random.stateless_uniform([8, plain.num_uniforms], [7, 8])
    expected = plain(views, uniforms)
    specs = [tf.TensorSpec([None, 24, 24, 3], tf.uint8), tf.TensorSpec([None, plain.num_uniforms])]
    for call in (
        tf.function(compiled.__call__, specs),
        tf.function(plain.__call__, specs, jit_compile=True),
    ):
        differs = np.abs(call(views, uniforms) - expected) > 1e-5
        assert differs.mean() <= (0.02 if name == "auto_augment" else 0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cutout", {"size": 1.5}),
        ("cutout", {"probability": -0.1}),
        ("noise", {"stddev": 2.0}),
        ("crop", {"area_min": 1.2}),
        ("color", {"grey_probability": 2.0}),
    ],
)
def test_arguments_out_of_bounds_are_refused(name: str, arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=rf"--augmentations: {next(iter(arguments))}=.*give a number from"):
        OPERATIONS[name](**arguments)
