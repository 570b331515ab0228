"""The colour operations equal tf.image's and draw App. A's factors, measured on pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_simclr.augment import ColorDistortion
from tf_simclr.augment.color_distortion import OPERATIONS, ORDERS
from tf_simclr.errors import UsageError

DRAWS = 20_000
PAPER_ORDER = ("brightness", "contrast", "saturation", "hue")  # App. A's listing
NEUTRAL = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def oracle(name: str, image: tf.Tensor, factor: float, brightness: str = "additive") -> tf.Tensor:
    """One operation on one image by tf.image, clipped."""
    if name == "brightness" and brightness == "multiplicative":
        image = image * factor
    else:
        image = getattr(tf.image, f"adjust_{name}")(image, factor)
    return tf.clip_by_value(image, 0.0, 1.0)


def given(batch_size: int, **factors: Any) -> dict[str, tf.Tensor]:
    """Factors that jitter every image neutrally and never turn it grey, but for those given."""
    all_factors = {"jitter": True, "grey": False, **NEUTRAL, **factors}
    return {name: tf.broadcast_to(tf.constant(value), [batch_size]) for name, value in all_factors.items()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_equals_tf_image(name: str) -> None:
    images = tf.random.stateless_uniform([12, 9, 7, 3], [1, 2])
    low, high = ColorDistortion(1.0).ranges()[name]
    values = np.linspace(low, high, 12, dtype=np.float32)
    distorted = ColorDistortion()(images, given(12, **{name: values}))
    expected = [oracle(name, image, value) for image, value in zip(images, values, strict=True)]
    np.testing.assert_allclose(distorted, expected, atol=1e-5)
    assert np.abs(distorted - images).max() > 0.1


@pytest.mark.parametrize("order", ["fixed", "random"])
@pytest.mark.parametrize("brightness", ["additive", "multiplicative"])
def test_whole_distortion_equals_tf_image_in_the_drawn_order(order: str, brightness: str) -> None:
    layer = ColorDistortion(1.0, order, brightness)
    images = tf.random.stateless_uniform([200, 6, 6, 3], [3, 4])
    factors = layer.draw(200, [5, 6])
    distorted = layer(images, factors)
    for i in range(200):
        expected = images[i]
        names = ORDERS[factors["order"][i]] if order == "random" else PAPER_ORDER
        for name in names if factors["jitter"][i] else ():
            expected = oracle(name, expected, factors[name][i], brightness)
        if factors["grey"][i]:
            expected = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(expected))
        np.testing.assert_allclose(distorted[i], expected, atol=1e-4)


def test_every_order_occurs_as_often() -> None:
    orders = ColorDistortion(order="random").draw(DRAWS, [1, 2])["order"]
    counts = np.bincount(orders, minlength=24)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("order", ["fixed", "random"])
def test_images_not_drawn_pass_bit_for_bit(order: str) -> None:
    layer = ColorDistortion(order=order)
    images = tf.random.stateless_uniform([256, 4, 4, 3], [1, 2])
    factors = layer.draw(256, [3, 4])
    same = np.all(layer(images, factors).numpy() == images.numpy(), axis=(1, 2, 3))
    np.testing.assert_array_equal(same, ~(factors["jitter"] | factors["grey"]).numpy())
    assert 10 < same.sum() < 80


def paint(layer: ColorDistortion, pixels: list[list[float]], alone: str = "") -> np.ndarray:
    """The layer's output [DRAWS, pixels, 3] on an image of one row, with the factors it draws.

    `alone` names the one operation whose drawn factor is kept; the others' are neutral, and no grey.
    """
    images = tf.broadcast_to(tf.constant(pixels)[tf.newaxis, tf.newaxis], [DRAWS, 1, len(pixels), 3])
    factors = layer.draw(DRAWS, [7, 8])
    if alone:
        factors = {**given(DRAWS), "jitter": factors["jitter"], alone: factors[alone]}
    return layer(images, factors).numpy()[:, 0]


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    margin = 0.005 * (high - low)
    assert low - 1e-3 < values.min() < low + margin
    assert high - margin < values.max() < high + 1e-3
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def assert_distortion_is_the_papers(layer: ColorDistortion, strength: float) -> None:
    """Reads probabilities and factors of App. A off the pixels that the layer paints.

    Strength is at most 0.5, so that no operation reaches the clip on the pixels chosen here.
    """
    grey = np.ptp(paint(layer, [[0.5, 0.3, 0.2], [0.4, 0.4, 0.6]]), axis=2).max(axis=1) < 1e-6
    assert abs(grey.mean() - 0.2) < 0.012

    mid_grey = paint(layer, [[0.5, 0.5, 0.5]], alone="brightness")[:, 0, 0]
    jitter = mid_grey != 0.5
    assert abs(jitter.mean() - 0.8) < 0.012
    assert_uniform(mid_grey[jitter] - 0.5, -0.8 * strength, 0.8 * strength)

    two_greys = paint(layer, [[0.3] * 3, [0.7] * 3], alone="contrast")[jitter, :, 0]  # mean 0.5
    assert_uniform((two_greys[:, 1] - two_greys[:, 0]) / 0.4, 1 - 0.8 * strength, 1 + 0.8 * strength)

    pale = paint(layer, [[0.6, 0.5, 0.4]], alone="saturation")[jitter, 0]  # saturation 1/3
    saturation = (pale.max(axis=1) - pale.min(axis=1)) / pale.max(axis=1)
    assert_uniform(saturation * 3, 1 - 0.8 * strength, 1 + 0.8 * strength)

    cyan = tf.image.rgb_to_hsv(paint(layer, [[0.2, 0.8, 0.8]], alone="hue")[jitter, 0])  # hue 0.5
    assert_uniform(cyan.numpy()[:, 0] - 0.5, -0.2 * strength, 0.2 * strength)


@pytest.mark.parametrize("strength", [0.5, 0.25])
def test_probabilities_and_ranges_are_the_papers(strength: float) -> None:
    assert_distortion_is_the_papers(ColorDistortion(strength), strength)


def test_full_strength_draws_the_papers_ranges() -> None:
    factors = ColorDistortion(1.0).draw(DRAWS, [9, 9])
    for name, half_range in (("brightness", 0.8), ("contrast", 0.8), ("saturation", 0.8), ("hue", 0.2)):
        assert_uniform(factors[name].numpy(), NEUTRAL[name] - half_range, NEUTRAL[name] + half_range)
    drawn = np.stack([tf.cast(factors[name], tf.float32) for name in sorted(factors)])
    assert np.abs(np.corrcoef(drawn) - np.eye(len(drawn))).max() < 0.03  # independent of each other


class Wrong(ColorDistortion):
    """Draws everything as the paper but what `change` alters."""

    def __init__(self, change: str) -> None:
        super().__init__(0.5)
        self.change = change

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        factors = super().factors_from_uniforms(uniforms)
        if self.change == "swapped probabilities":
            factors["jitter"], factors["grey"] = uniforms[..., 0] < 0.2, uniforms[..., 5] < 0.8
        elif self.change == "no grey":
            factors["grey"] = tf.zeros_like(factors["grey"])
        elif self.change == "half the hue":
            factors["hue"] /= 2.0
        elif self.change in OPERATIONS:
            neutral = NEUTRAL[self.change]
            factors[self.change] = neutral + 0.95 * (factors[self.change] - neutral)
        return factors

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        return images if self.change == "no-op" else super().__call__(images, factors)


@pytest.mark.parametrize("change", ["no-op", "swapped probabilities", "no grey", "half the hue", *OPERATIONS])
def test_a_wrong_distortion_would_be_noticed(change: str) -> None:
    with pytest.raises(AssertionError):
        assert_distortion_is_the_papers(Wrong(change), 0.5)


def test_the_wrong_distortions_are_right_when_unchanged() -> None:
    assert_distortion_is_the_papers(Wrong("nothing"), 0.5)


def test_strong_distortion_never_inverts_contrast() -> None:
    layer = ColorDistortion(2.0, brightness="multiplicative")
    for name in ("brightness", "contrast", "saturation"):
        assert layer.ranges()[name] == (0.0, 1.0 + 0.8 * 2.0)
    assert layer.draw(500, [1, 1])["contrast"].numpy().min() >= 0.0


def test_saturation_may_have_a_range_of_its_own() -> None:
    ranges = ColorDistortion(0.5, saturation=0.2).ranges()
    assert ranges.pop("saturation") == (0.8, 1.2)
    plain = ColorDistortion(0.5).ranges()
    assert plain.pop("saturation") == plain["contrast"]
    assert ranges == plain


def test_config_and_draws() -> None:
    config = {
        "strength": 0.3,
        "order": "random",
        "brightness": "multiplicative",
        "saturation": 0.1,
        "grey_probability": 0.3,
    }
    layer = ColorDistortion(**config)
    again = ColorDistortion.from_config(layer.get_config())
    assert again.get_config() == config
    first, second, other = layer.draw(50, [1, 2]), again.draw(50, [1, 2]), layer.draw(50, [1, 3])
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        assert not np.array_equal(values, other[name])
    wrong = (
        {"strength": -0.1},
        {"strength": 2.6},
        {"order": "both"},
        {"brightness": "none"},
        {"saturation": 2.0},
    )
    for arguments in wrong:
        with pytest.raises(UsageError):
            ColorDistortion(**arguments)
