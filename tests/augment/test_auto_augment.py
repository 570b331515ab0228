"""AutoAugment's operations equal Pillow's, its draws are the policy's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from tests.augment.test_operations import DRAWS, photographs
from tf_simclr.augment.auto_augment import _NAMES, _OPERATIONS, POLICY, AutoAugment, Step, _magnitude

GREY = (128, 128, 128)
PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "rotate": lambda image, m: image.rotate(math.degrees(m), fillcolor=GREY),
    "shear_x": lambda image, m: image.transform(
        image.size, Image.Transform.AFFINE, (1, m, 0, 0, 1, 0), fillcolor=GREY
    ),
    "color": lambda image, m: ImageEnhance.Color(image).enhance(1 + m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(1 + m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + m),
    "solarize": lambda image, m: ImageOps.solarize(image, 255 * m),
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
}
USED = sorted({(step.operation, step.level) for steps in POLICY for step in steps})


@pytest.mark.parametrize(("name", "level"), USED)
def test_operations_equal_pillow(name: str, level: int) -> None:
    """Bytes that Pillow rounds in between, as luma, differ by two levels at most."""
    images = photographs()
    images[1] = 40 + images[1] // 2
    for sign in (1, -1) if name in ("rotate", "shear_x", "color", "contrast", "sharpness") else (1,):
        magnitude = sign * _magnitude(Step(name, 1.0, level))
        ours = _OPERATIONS[name](images / np.float32(255), tf.fill([4], np.float32(magnitude)))
        for image, changed in zip(images, 255 * np.asarray(ours), strict=True):
            expected = PILLOW[name](Image.fromarray(image), magnitude)
            far = np.abs(changed - np.asarray(expected, np.float32)) > 2
            assert far.mean() < 0.01, (magnitude, far.mean())


def test_magnitudes_are_those_of_the_levels() -> None:
    assert _magnitude(Step("rotate", 1, 9)) == pytest.approx(math.radians(30))
    assert _magnitude(Step("solarize", 1, 0)) == 1.0
    assert _magnitude(Step("solarize", 1, 3)) == pytest.approx(2 / 3)
    assert [_magnitude(Step("posterize", 1, level)) for level in (5, 6, 7, 8)] == [6, 5, 5, 4]
    assert _magnitude(Step("equalize", 1, 7)) == 0.0


def test_draws_are_the_policys() -> None:
    factors = AutoAugment().factors_from_uniforms(tf.random.stateless_uniform([DRAWS, 5], [1, 2]))
    for number in (0, 1):
        found = [_NAMES[index] for index in factors[f"operation{number}"].numpy()]
        steps = [own[number] for own in POLICY]
        expected = [sum(step.operation == name for step in steps) for name in _NAMES]
        counts = [found.count(name) for name in _NAMES]
        used = np.array(expected) > 0
        assert stats.chisquare(np.array(counts)[used], np.array(expected)[used] * DRAWS / 25).pvalue > 1e-3
        assert sum(np.array(counts)[~used]) == 0
        drawn = np.mean(factors[f"drawn{number}"])
        assert drawn == pytest.approx(np.mean([step.probability for step in steps]), abs=0.015)
        magnitude = factors[f"magnitude{number}"].numpy()
        turned = magnitude[np.array(found) == "rotate"]
        assert np.mean(turned < 0) == pytest.approx(0.5, abs=0.03)
        assert magnitude[np.array(found) == "solarize"].min() > 0


@pytest.mark.parametrize("policy", range(len(POLICY)))
def test_every_sub_policy_does_its_steps_in_order(policy: int) -> None:
    images = photographs()
    uniforms = np.full([4, 5], 0.99, np.float32)
    uniforms[:, 0] = (policy + 0.5) / 25
    uniforms[:, [1, 3]] = [[0, 0], [0, 0.999], [0.999, 0], [0.999, 0.999]]  # which steps are drawn
    layer = AutoAugment()
    ours = layer(images, layer.factors_from_uniforms(tf.constant(uniforms))).numpy()
    for image, row, changed in zip(images, uniforms, ours, strict=True):
        expected = Image.fromarray(image)
        for step, uniform in zip(POLICY[policy], row[[1, 3]], strict=True):
            if uniform < step.probability:
                expected = PILLOW[step.operation](expected, _magnitude(step))
        assert np.abs(255 * changed - np.asarray(expected, np.float32)).mean() < 3
