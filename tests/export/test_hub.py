"""The encoder as a hub.KerasLayer: retraining, freezing, losses, configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.parts import Models
from export.saved_model import export_models

hub = pytest.importorskip("tensorflow_hub", reason="needs requirements-hub.txt")


def moving(layer: tf.keras.layers.Layer) -> list[np.ndarray]:
    return [variable.numpy() for variable in layer.non_trainable_weights]


def moved(layer: tf.keras.layers.Layer, before: list[np.ndarray]) -> list[bool]:
    return [not np.array_equal(a, b) for a, b in zip(moving(layer), before, strict=True)]


def fitted(layer: tf.keras.layers.Layer) -> tf.keras.callbacks.History:
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(2)])
    model.compile(
        tf.keras.optimizers.SGD(0.01), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    inputs = tf.random.stateless_uniform([8, 32, 32, 3], [1, 2])
    return model.fit(inputs, tf.range(8) % 2, batch_size=8, epochs=4, verbose=0)


def test_retraining_moves_weights_and_statistics(exports: Path):
    layer = hub.KerasLayer(str(exports / "encoder" / "1000"), trainable=True)
    assert len(layer.trainable_weights) == 63
    weights = [variable.numpy() for variable in layer.trainable_weights]
    before = moving(layer)
    losses = fitted(layer).history["loss"]
    assert losses[-1] < losses[0]
    assert all(moved(layer, before))
    assert not any(np.array_equal(a, b) for a, b in zip(layer.trainable_weights, weights, strict=True))


def test_frozen_layer_keeps_weights_and_statistics(exports: Path):
    layer = hub.KerasLayer(str(exports / "encoder" / "1000"), trainable=False)
    assert not layer.trainable_weights
    before = moving(layer)
    assert len(before) == 105
    fitted(layer)
    assert not any(moved(layer, before))


def test_training_argument_chooses_the_statistics(exports: Path):
    layer = hub.KerasLayer(str(exports / "encoder" / "1000"), trainable=True)
    inputs = tf.random.stateless_uniform([4, 32, 32, 3], [1, 2])
    before = moving(layer)
    inference = layer(inputs, training=False)
    assert not any(moved(layer, before))
    assert np.max(np.abs(layer(inputs, training=True) - inference)) > 1e-3
    assert all(moved(layer, before))


def test_no_image_gives_no_row(exports: Path):
    for trainable in (False, True):
        layer = hub.KerasLayer(str(exports / "encoder" / "1000"), trainable=trainable)
        assert layer(tf.zeros([0, 32, 32, 3])).shape == [0, 128]


def test_regularisation_losses_reach_keras(small: Models, tmp_path: Path):
    (folder,) = export_models(small, str(tmp_path))
    layer = hub.KerasLayer(str(folder), trainable=True)
    expected = 0.5 * tf.reduce_sum(small.encoder.dense.kernel**2)
    np.testing.assert_allclose(tf.add_n(layer.losses), expected, rtol=1e-6)


def test_config_round_trip(exports: Path):
    layer = hub.KerasLayer(str(exports / "encoder" / "1000"), trainable=True)
    model = tf.keras.Sequential([layer])
    inputs = tf.random.stateless_uniform([2, 32, 32, 3], [1, 2])
    expected = model(inputs)
    copy = tf.keras.Sequential.from_config(model.get_config(), custom_objects={"KerasLayer": hub.KerasLayer})
    np.testing.assert_array_equal(copy(inputs), expected)
    assert copy.layers[0].trainable
