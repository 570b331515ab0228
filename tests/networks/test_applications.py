"""keras.applications behind their own preprocessing, and what is refused without it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import Classifier, ProjectionHead, SimCLR, applications
from tf_simclr.networks import KerasEncoder
from tf_simclr.networks.applications import Preprocessing, expects_bytes

KERAS = tf.keras.applications
SMALL = {"include_top": False, "weights": None, "pooling": "avg", "input_shape": [None, None, 3]}
NAMES = [name for name in dir(KERAS) if name[0].isupper()]


def images(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=[2, side, side, 3]).astype(np.float32)


def by_hand(name: str) -> np.ndarray:
    """The four ways of the applications' `preprocess_input`, written out."""
    pixels = images() * 255
    if name in ("ResNet50", "VGG16"):
        return pixels[..., ::-1] - [103.939, 116.779, 123.68]
    if name in ("MobileNetV2", "ResNet50V2", "InceptionV3", "NASNetMobile"):
        return pixels / 127.5 - 1
    if name == "DenseNet121":
        return (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return pixels


@pytest.mark.parametrize(
    "name",
    "ResNet50 VGG16 MobileNetV2 ResNet50V2 InceptionV3 NASNetMobile DenseNet121 MobileNetV3Small "
    "MobileNetV3Large EfficientNetB0 EfficientNetV2S ConvNeXtTiny RegNetX002 ResNetRS50".split(),
)
def test_images_in_0_1_become_what_the_application_wants(name: str) -> None:
    np.testing.assert_allclose(Preprocessing(name)(images()), by_hand(name), rtol=1e-5, atol=1e-4)


def test_every_application_has_its_own_modules_preprocessing() -> None:
    assert len(NAMES) > 60
    for name in NAMES:
        assert Preprocessing(name)._preprocess.__module__ == getattr(KERAS, name).__module__


@pytest.mark.parametrize(
    ("name", "module", "arguments"),
    [
        ("MobileNetV3Small", KERAS.mobilenet_v3, {"alpha": 0.25, "minimalistic": True}),
        ("MobileNet", KERAS.mobilenet, {"alpha": 0.25}),
        pytest.param("MobileNetV2", KERAS.mobilenet_v2, {"alpha": 0.35}, marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", KERAS.efficientnet, {}, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", KERAS.convnext, {}, marks=pytest.mark.slow),
        pytest.param("DenseNet121", KERAS.densenet, {}, marks=pytest.mark.slow),
        pytest.param("RegNetX002", KERAS.regnet, {}, marks=pytest.mark.slow),
        pytest.param("ResNet50", KERAS.resnet50, {}, marks=pytest.mark.slow),
    ],
)
def test_an_application_sees_what_preprocess_input_makes(
    name: str, module: ModuleType, arguments: dict[str, Any]
) -> None:
    encoder = applications(name, **arguments)
    plain = getattr(KERAS, name)(**SMALL, **arguments)
    plain.set_weights(encoder.get_weights())
    expected = plain(module.preprocess_input(255 * images()))
    np.testing.assert_allclose(encoder(images()), expected, rtol=1e-4, atol=1e-5)
    assert expects_bytes(plain) == (name not in ("MobileNet", "MobileNetV2", "DenseNet121", "ResNet50"))
    assert not expects_bytes(encoder)


def test_one_that_rescales_itself_is_refused_for_pretraining_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = KERAS.MobileNetV3Small(**SMALL, alpha=0.25, minimalistic=True)
    with pytest.raises(
        UsageError, match=r"rescales images of 0 to 255 itself.*networks.applications\(NAME\)"
    ):
        SimCLR(raw, ProjectionHead()).compile()
    Classifier(raw, 2).compile()
    assert "warning: encoder: MobilenetV3small rescales images" in capsys.readouterr().err
    inputs = tf.keras.Input([None, None, 3])
    scaled = tf.keras.Model(inputs, raw(tf.keras.layers.Rescaling(255.0)(inputs)))
    SimCLR(scaled, ProjectionHead()).compile()


def test_it_is_an_encoder_by_name_and_in_python() -> None:
    maker = "tf_simclr.networks:applications(name='MobileNet', alpha=0.25)"
    encoder = KerasEncoder(maker, 32)
    assert encoder.output_dim == 256
    again = tf.keras.Model.from_config(encoder.network.get_config())
    again.set_weights(encoder.network.get_weights())
    np.testing.assert_allclose(again(images()), encoder(images()), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "MobileNetV9"}, "'MobileNetV9' is none of .*MobileNetV3Small"),
        ({"name": "MobileNetV3Small", "include_preprocessing": False}, "include_preprocessing=False"),
        ({"name": "MobileNetV2", "depth": 3}, "unexpected keyword|Unknown argument"),
    ],
)
def test_what_is_no_application_is_refused(arguments: dict[str, Any], words: str) -> None:
    maker = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    with pytest.raises(UsageError, match=words):
        KerasEncoder(f"tf_simclr.networks:applications({maker})")
