"""--augmentations: operations by name and of the user's own, the same for all views or a list for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.augment import Augmentations, ColorDistortion, GaussianBlur, Solarization
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.runs import build

ROOT = Path(__file__).resolve().parents[2]


class Inversion:
    """A user's operation."""

    num_uniforms = 1

    def __init__(self, probability: float = 1.0) -> None:
        self.probability = probability

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"jitter": uniforms[..., 0] < self.probability}  # a name that the colours have too

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        images = tf.image.convert_image_dtype(images, tf.float32)
        return tf.where(factors["jitter"][:, tf.newaxis, tf.newaxis, tf.newaxis], 1.0 - images, images)


def made(text: str) -> Augmentations:
    return build.augmentations(Config("pretrain").replace(augmentations=text))


def test_names_make_what_the_flags_make() -> None:
    by_flags = build.augmentations(Config("pretrain").replace(color_jitter_strength=0.5))
    by_name = made("color(strength=0.5),blur")
    assert [type(one) for one in by_name.layers] == [ColorDistortion, GaussianBlur]
    images = tf.random.stateless_uniform([4, 24, 24, 3], [1, 2])
    uniforms = tf.random.stateless_uniform([4, by_flags.num_uniforms], [3, 4])
    np.testing.assert_array_equal(by_name(images, uniforms), by_flags(images, uniforms))


def test_views_have_lists_of_their_own() -> None:
    augmentations = made("none|solarize(probability=1.0, threshold=0.5)")
    assert augmentations.num_uniforms == 1
    images = tf.constant(np.linspace(0, 1, 2 * 2 * 4 * 3), tf.float32)
    images = tf.reshape(images, [2, 2, 4, 3])
    first, second = tf.split(augmentations(images, tf.zeros([2, 1])), 2)
    np.testing.assert_array_equal(first, images[:1])
    expected = np.where(images[1:] < 0.5, images[1:], 1 - images[1:])
    np.testing.assert_allclose(second, expected, atol=1e-6)


def test_names_of_factors_do_not_collide() -> None:
    augmentations = made(f"{__name__}:Inversion,color(strength=0.0),{__name__}:Inversion")
    images = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])
    uniforms = tf.fill([2, augmentations.num_uniforms], 0.9)  # no jitter, no grey
    np.testing.assert_allclose(augmentations(images, uniforms), images, atol=1e-6)


def test_solarisation_is_drawn_by_image() -> None:
    layer = Solarization(probability=0.3)
    drawn = layer.draw(20_000, [1, 2])["solarize"]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.01)
    images = tf.fill([2, 4, 4, 3], 0.8)
    np.testing.assert_allclose(
        layer(images, {"solarize": tf.constant([True, False])})[:, 0, 0, 0], [0.2, 0.8], atol=1e-6
    )
    assert Solarization.from_config(layer.get_config()).probability == 0.3


def kinds(augmentations: Augmentations) -> list[list[str]]:
    return [[type(layer).__name__ for layer in own] for own in augmentations.per_view]


def test_the_first_crop_is_there_named_or_not() -> None:
    assert (
        kinds(made("crop,color,blur")) == kinds(made("color,blur")) == [["ColorDistortion", "GaussianBlur"]]
    )
    assert kinds(made("crop")) == kinds(made("none")) == [[]]
    assert kinds(made("color,crop")) == [["ColorDistortion", "Crop"]]
    assert kinds(made("crop,blur|crop,crop")) == [["GaussianBlur"], ["Crop"]]


def test_one_branch_has_the_operations_and_the_crop_is_one_of_them() -> None:
    def one_branch(text: str) -> Augmentations:
        return build.augmentations(
            Config("pretrain").replace(augmentations=text, one_branch=True, crop_area_min=0.3, use_flip=False)
        )

    assert kinds(one_branch("rotate")) == [["Rotation"], []]
    assert kinds(one_branch("")) == [["Crop", "ColorDistortion", "GaussianBlur"], []]
    cropped = one_branch("crop,sobel")
    assert kinds(cropped) == [["Crop", "Sobel"], []]
    assert (cropped.layers[0].area_min, cropped.layers[0].flip) == (0.3, False)
    images = tf.tile(tf.random.stateless_uniform([3, 16, 16, 3], [1, 2]), [2, 1, 1, 1])
    first, second = tf.split(cropped(images, tf.random.stateless_uniform([6, 24], [3, 4])), 2)
    np.testing.assert_array_equal(second, images[:3])
    assert np.abs(first - second).max() > 0.1
    with pytest.raises(UsageError, match="--one_branch takes one list, without"):
        one_branch("blur|color")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour", "'colour' is none of crop, color, color_jitter, color_drop, blur, cutout, sobel, noise, "),
        (
            "crop(area_min=0.5),color",
            "the first crop has the flags --crop_area_min and --use_flip; give crop",
        ),
        ("rotate(probability=2)", "probability=2: give a number from 0 to 1"),
        ("color(strength=9)", "--color_jitter_strength=9"),
        ("color(depth=1)", "unexpected keyword argument"),
        ("color(strength=open('x'))", "give NAME, MODULE:NAME"),
        ("color|blur|blur", "has lists for 3 views in place of 2"),
        ("color,", "give NAME"),
        ("builtins:dict", "builtins:dict makes no operation"),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        made(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_takes_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tf_simclr.pretrain", "--dataset=digits", "--image_size=24"]
    policy = "color(strength=0.5),blur(probability=1.0)|color(strength=0.5),solarize"
    picture = tmp_path / "views.png"
    done = subprocess.run(
        [*command, f"--augmentations={policy}", f"--preview_views={picture}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert picture.exists()
