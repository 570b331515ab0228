"""Pretraining on images that are not RGB."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.augment import Augmentations, ColorDistortion, GaussianBlur, Solarization
from tf_simclr.errors import UsageError
from tf_simclr.models import ProjectionHead, ResNet, SimCLR

SIDE = 24


def bands(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def test_thirteen_channels_train() -> None:
    """Two steps on batches of the user's own, with blur in the step."""
    views = bands(8, 2, SIDE, SIDE, 13)
    batches = tf.data.Dataset.from_tensor_slices({"views": views}).batch(4)
    encoder = ResNet(18, width_multiplier=0.0625, stem="cifar", channels=13)
    model = SimCLR(encoder, ProjectionHead(out_dim=4), Augmentations([GaussianBlur()], jit_compile=False))
    model.compile("sgd", image_size=SIDE, run_eagerly=True)
    kernel = encoder.groups[0].parts[0].kernel
    assert kernel.shape == (3, 3, 13, 4)
    before = kernel.numpy()
    history = model.fit(batches, epochs=1, verbose=0).history
    assert np.isfinite(history["contrastive_loss"]).all()
    assert (np.abs(kernel.numpy() - before).max(axis=(0, 1, 3)) > 0).all()  # every channel is learned from
    assert ResNet.from_config(encoder.get_config()).groups[0].parts[0].kernel.shape == (3, 3, 13, 4)


@pytest.mark.parametrize("layer", [GaussianBlur(probability=1.0), Solarization(probability=1.0)])
def test_blur_and_solarisation_treat_every_channel_alike(layer: GaussianBlur | Solarization) -> None:
    images = tf.constant(bands(2, SIDE, 32, 5))
    factors = layer.draw(2, [0, 1])
    done = layer(images, factors)
    assert np.abs(done - images).max() > 0.01
    for channel in range(5):
        alone = layer(images[..., channel : channel + 1], factors)
        np.testing.assert_allclose(done[..., channel : channel + 1], alone, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 13])
def test_colour_distortion_says_that_it_needs_rgb(channels: int) -> None:
    """When it is called, and before anything is traced: autograph would wrap the line into many."""
    images, layer = tf.zeros([2, 8, 8, channels]), ColorDistortion()
    painted = Augmentations(per_view=[[GaussianBlur()], [layer]])
    encoder = tf.keras.Sequential([tf.keras.Input([8, 8, channels]), tf.keras.layers.Flatten()])
    model = SimCLR(encoder, ProjectionHead(out_dim=4), painted)
    for mistaken in (
        lambda: layer(images, layer.draw(2, [0, 0])),
        lambda: painted(images, tf.zeros([2, painted.num_uniforms])),
        model.compile,
    ):
        with pytest.raises(
            UsageError, match=rf"RGB.* are {channels}: give --color_jitter_strength=0"
        ) as error:
            mistaken()
        assert "\n" not in str(error.value)
