"""The blur equals the authors' and draws App. A's probability and sigmas, measured on its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_simclr.augment import GaussianBlur
from tf_simclr.errors import UsageError

DRAWS = 20_000


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_equals_the_authors_blur(golden: Path, sigma: float) -> None:
    values = np.load(golden / "gaussian_blur.npz")
    factors = {"blur": tf.constant([True, True]), "sigma": tf.constant([sigma, 1.3])}
    blurred = GaussianBlur()(tf.stack([values["image"]] * 2), factors)[0]
    np.testing.assert_allclose(blurred, values[f"blur_kernel6_sigma{sigma}"], atol=1e-5)


def test_kernel_is_a_tenth_of_the_side() -> None:
    for side, radius in ((18, 0), (32, 1), (64, 3), (96, 4), (224, 11)):
        image = np.zeros([1, side, side, 3], np.float32)
        image[0, side // 2, side // 2] = 1.0
        factors = {"blur": tf.constant([True]), "sigma": tf.constant([5.0])}
        blurred = GaussianBlur()(tf.constant(image), factors)
        taps = np.flatnonzero(blurred[0, side // 2, :, 0].numpy())
        assert taps.tolist() == list(range(side // 2 - radius, side // 2 + radius + 1))


def test_oblong_images_are_blurred_along_both_sides() -> None:
    image = tf.random.stateless_uniform([1, 40, 60, 3], [1, 2])
    factors = {"blur": tf.constant([True]), "sigma": tf.constant([1.0])}
    kernel = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel = np.outer(kernel, kernel)[:, :, None, None] / kernel.sum() ** 2
    expected = tf.nn.depthwise_conv2d(
        image, np.tile(kernel, [1, 1, 3, 1]).astype(np.float32), [1] * 4, "SAME"
    )
    np.testing.assert_allclose(GaussianBlur()(image, factors), expected, atol=1e-6)


def test_images_not_drawn_pass_bit_for_bit() -> None:
    images = tf.random.stateless_uniform([64, 32, 32, 3], [1, 2])
    layer = GaussianBlur(sigma_min=0.5)  # at 0.1 the kernel is the identity in float32
    factors = layer.draw(64, [3, 4])
    same = np.all(layer(images, factors).numpy() == images.numpy(), axis=(1, 2, 3))
    np.testing.assert_array_equal(same, ~factors["blur"].numpy())


def assert_blur_is_the_papers(layer: GaussianBlur) -> None:
    """Reads each sigma off a blurred dot: the ratio of two neighbours on a row is exp(-1 / (2 sigma^2))."""
    dot = np.zeros([DRAWS, 20, 20, 3], np.float32)
    dot[:, 10, 10] = 1.0
    blurred = layer(dot, layer.draw(DRAWS, [5, 6])).numpy()[:, 10, :, 0]  # [DRAWS, 20]
    drawn = blurred[:, 11] > 0.0
    assert abs(drawn.mean() - 0.5) < 0.015
    sigma = np.sqrt(-0.5 / np.log(blurred[drawn, 11] / blurred[drawn, 10]))
    assert 0.1 - 1e-4 < sigma.min() < 0.11
    assert 1.99 < sigma.max() < 2.0 + 1e-4
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


def test_probability_and_sigmas_are_the_papers() -> None:
    assert_blur_is_the_papers(GaussianBlur())


class NoBlur(GaussianBlur):
    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.convert_to_tensor(images)


@pytest.mark.parametrize(
    "wrong",
    [NoBlur(), GaussianBlur(probability=0.55), GaussianBlur(sigma_max=1.9), GaussianBlur(sigma_min=0.2)],
    ids=["no-op", "probability", "sigma_max", "sigma_min"],
)
def test_a_wrong_blur_would_be_noticed(wrong: GaussianBlur) -> None:
    with pytest.raises(AssertionError):
        assert_blur_is_the_papers(wrong)


def test_config_and_draws() -> None:
    layer = GaussianBlur(0.7, 0.2, 1.5)
    again = GaussianBlur.from_config(layer.get_config())
    np.testing.assert_array_equal(layer.draw(9, [1, 2])["sigma"], again.draw(9, [1, 2])["sigma"])
    assert not np.array_equal(layer.draw(9, [1, 2])["sigma"], layer.draw(9, [1, 3])["sigma"])
    for arguments in ({"probability": 1.1}, {"sigma_min": 0.0}, {"sigma_min": 2.0, "sigma_max": 1.0}):
        with pytest.raises(UsageError):
            GaussianBlur(**arguments)
