"""Features come out in order, once, whatever the batches; the hash sees every weight and nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import (
    Features,
    cached_features,
    encode_batches,
    encoder_sha256,
    extract_features,
)

BUILD_ENCODER = """
import tensorflow as tf

class Block(tf.keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.norm = tf.keras.layers.BatchNormalization()
        self.conv = tf.keras.layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.norm(self.conv(inputs))

def build():
    tf.keras.utils.set_random_seed(7)
    first, pool = tf.keras.layers.Conv2D(2, 3), tf.keras.layers.GlobalAveragePooling2D()
    model = tf.keras.Sequential([first, Block(), pool])
    model.build([None, 8, 8, 3])
    return model
"""
exec(BUILD_ENCODER)


def batches(images: np.ndarray, size: int) -> list[dict[str, tf.Tensor]]:
    return [
        {
            "image": tf.constant(images[i : i + size]),
            "label": tf.range(i, min(i + size, len(images)), dtype=tf.int64),
            "id": tf.constant([f"é{j}.png" for j in range(i, min(i + size, len(images)))]),
        }
        for i in range(0, len(images), size)
    ]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((7, 8, 8, 3), dtype=np.float32)


def test_last_batch_is_padded_and_function_traced_once(images):
    traced_shapes = []

    def encode(batch):
        traced_shapes.append(batch.shape)
        return tf.reduce_mean(batch, axis=(1, 2))

    features = extract_features(encode, batches(images, 3))
    assert traced_shapes == [(3, 8, 8, 3)]
    np.testing.assert_allclose(features.values, images.mean(axis=(1, 2)), rtol=1e-6)
    assert features.values.dtype == np.float32
    assert features.labels.tolist() == list(range(7))
    assert features.labels.dtype == np.int64
    assert features.ids.tolist() == [f"é{i}.png" for i in range(7)]


def test_batches_are_encoded_one_at_a_time(images):
    taken: list[int] = []

    def source():
        for number, batch in enumerate(batches(images, 3)):
            taken.append(number)
            yield batch

    next(encode_batches(lambda batch: tf.reduce_mean(batch, axis=(1, 2)), source()))
    assert taken == [0]


def test_features_that_are_not_finite_are_refused(images):
    with pytest.raises(UsageError, match="not finite"):
        extract_features(lambda batch: tf.math.log(-tf.reduce_mean(batch, axis=(1, 2))), batches(images, 3))


def test_empty_split_is_refused():
    with pytest.raises(UsageError, match="empty"):
        extract_features(lambda batch: batch, [])


class TestCache:
    features = Features(np.ones((200, 3), np.float32), np.arange(200), np.array(["a"] * 200))

    def counted(self, folder, key="encoder, data"):
        calls = []

        def compute():
            calls.append(1)
            return self.features

        return cached_features(folder, key, compute), len(calls)

    def test_second_call_reads_the_file(self, tmp_path):
        _, first = self.counted(tmp_path / "cache")
        features, second = self.counted(tmp_path / "cache")
        assert (first, second) == (1, 0)
        for stored, computed in zip(features, self.features, strict=True):
            np.testing.assert_array_equal(stored, computed)
            assert stored.dtype == computed.dtype

    def test_another_key_computes(self, tmp_path):
        self.counted(tmp_path)
        assert self.counted(tmp_path, "encoder, other data")[1] == 1

    @pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage"])
    def test_damaged_file_is_computed_again(self, tmp_path, damage):
        self.counted(tmp_path)
        (path,) = tmp_path.iterdir()
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[len(content) // 3] ^= 0xFF
        path.write_bytes({"cut": content[:-700], "flip": content, "empty": b"", "garbage": b"no zip"}[damage])
        features, calls = self.counted(tmp_path)
        assert calls == 1
        np.testing.assert_array_equal(features.values, self.features.values)
        assert self.counted(tmp_path)[1] == 0

    def test_nothing_unfinished_is_left(self, tmp_path):
        self.counted(tmp_path)
        assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


class TestEncoderSha256:
    def test_every_variable_counts(self):
        model = build()  # noqa: F821
        hashes = {encoder_sha256(model)}
        for variable in model.variables:  # 4 of them batch-norm's, 2 of these statistics
            variable.assign_add(tf.ones_like(variable) * 1e-6)
            hashes.add(encoder_sha256(model))
        assert len(hashes) == len(model.variables) + 1

    def test_names_and_freezing_do_not_count(self):
        first, second = build(), build()  # noqa: F821
        assert [v.name for v in first.variables] != [v.name for v in second.variables]
        assert encoder_sha256(first) == encoder_sha256(second)
        second.layers[1].norm.trainable = False
        assert [v.shape for v in first.variables] != [v.shape for v in second.variables]
        assert encoder_sha256(first) == encoder_sha256(second)
        second.compile("sgd", "mse", metrics=["mae"])
        second.evaluate(np.zeros([2, 8, 8, 3]), np.zeros([2, 4]), verbose=0)
        assert encoder_sha256(first) == encoder_sha256(second)

    def test_swapped_layers_count(self):
        layers = [tf.keras.layers.Dense(3), tf.keras.layers.Dense(3)]
        model = tf.keras.Sequential(layers)
        model.build([None, 3])
        before = encoder_sha256(model)
        weights = [layer.get_weights() for layer in layers]
        layers[0].set_weights(weights[1])
        layers[1].set_weights(weights[0])
        assert encoder_sha256(model) != before

    def test_equal_in_another_process(self):
        code = "import tf_simclr\nfrom tf_simclr.evaluation.features import encoder_sha256\n" + BUILD_ENCODER
        code += "print(encoder_sha256(build()))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.split()[-1] == encoder_sha256(build())  # noqa: F821
