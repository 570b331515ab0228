"""The classifier's augmentations: those of pretraining, for the images that are trained on alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import TINY
from tf_simclr import networks
from tf_simclr.augment import Augmentations
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.models import Classifier
from tf_simclr.runs import build

N, SIDE, CLASSES = 6, 8, 3


class Level:
    """An operation that makes an image of its one number."""

    num_uniforms = 1

    def factors_from_uniforms(self, uniforms: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"level": uniforms[..., 0]}

    def __call__(self, images: tf.Tensor, factors: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.zeros(images.shape) + factors["level"][:, tf.newaxis, tf.newaxis, tf.newaxis]


def images(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, [*shape, SIDE, SIDE, 3]).astype(np.uint8)


def uniforms(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def classifier(**options: Any) -> Classifier:
    tf.keras.utils.set_random_seed(0)
    encoder = networks.ResNet(18, width_multiplier=0.0625, stem="cifar")
    model = Classifier(encoder, CLASSES, **options)
    model.compile(tf.keras.optimizers.SGD(0.1), image_size=SIDE, run_eagerly=True)
    return model


@pytest.mark.parametrize(
    "policy",
    [
        {"color_jitter_strength": 0.25},
        {"augmentations": "crop,auto_augment,noise"},
    ],
    ids=str,
)
def test_the_image_that_is_trained_on_is_pretrainings_first_view(policy: dict[str, Any]) -> None:
    asked = {**TINY, **policy}
    model = build.classifier(Config("finetune").replace(**asked, augment="simclr"), CLASSES)
    simclr = build.augmentations(Config("pretrain").replace(**asked)).plain()
    model.augmentations = model.augmentations.plain()  # compiling takes most of the time
    assert model.num_uniforms == simclr.num_uniforms
    views, drawn = images(1, 2, N), uniforms(2, N, simclr.num_uniforms)
    ours = model.augmented({"image": tf.constant(views[0]), "uniforms": tf.constant(drawn[0])})
    theirs = simclr(tf.reshape(views, [2 * N, SIDE, SIDE, 3]), tf.reshape(drawn, [2 * N, -1]))[:N]
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - views[0] / 255.0).max() > 0.05


def test_training_sees_augmented_images_and_evaluation_does_not() -> None:
    batch = {"image": images(0, N), "label": np.arange(N) % CLASSES}
    levels = uniforms(N, 1)
    level = np.broadcast_to(levels[:, :, None, None], batch["image"].shape)
    model = classifier(augmentations=Augmentations([Level()], jit_compile=False))
    twins = [classifier() for _ in range(2)]
    alike = model.evaluate(batch, verbose=0), twins[1].evaluate(batch, verbose=0)
    np.testing.assert_array_equal(*alike)
    model.fit({**batch, "uniforms": levels}, epochs=1, batch_size=N, shuffle=False, verbose=0)
    twins[0].fit({**batch, "image": level}, epochs=1, batch_size=N, shuffle=False, verbose=0)
    for ours, theirs in zip(model.variables, twins[0].variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_without_draws_is_refused() -> None:
    model = classifier(augmentations=Augmentations([Level()], jit_compile=False))
    with pytest.raises(UsageError, match="'uniforms' is missing"):
        model.fit({"image": images(0, N), "label": np.arange(N) % CLASSES}, verbose=0)


def test_colours_of_grey_images_and_lists_for_two_views_are_refused() -> None:
    config = Config("finetune").replace(**TINY, augment="simclr")
    with pytest.raises(UsageError, match="needs RGB"):
        build.classifier(config.replace(channels=1), CLASSES)
    with pytest.raises(UsageError, match="lists for 2 views in place of 1"):
        build.classifier(config.replace(augmentations="color|blur"), CLASSES)
