"""The projection head against the authors' numbers; the linear classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import LinearClassifier, ProjectionHead


def golden_head(folder: Path, num_layers: int) -> tuple[ProjectionHead, dict[str, np.ndarray]]:
    with np.load(folder / f"projection_head_{num_layers}layers.npz") as archive:
        arrays = dict(archive)
    head = ProjectionHead(num_layers=num_layers, out_dim=16)
    head(arrays["input"])
    for i, layer in enumerate(head.dense_layers):
        for variable in layer.variables:
            leaf = variable.name.split("/")[-1].removesuffix(":0")
            (name,) = [n for n in arrays if f"/nl_{i}/" in n and n.endswith(leaf)]
            variable.assign(arrays[name])
    return head, arrays


def distance(found: tf.Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize(("training", "mode"), [(False, "inference"), (True, "training")])
def test_equals_the_authors(golden: Path, num_layers: int, training: bool, mode: str) -> None:
    head, arrays = golden_head(golden, num_layers)
    assert len(head.variables) == sum(name.startswith("var") for name in arrays)
    z = head(arrays["input"], training=training)
    assert distance(z, arrays[f"projection_{mode}"]) <= 1e-5
    outputs = head.layer_outputs(arrays["input"], training=training)
    assert distance(outputs[1], arrays[f"finetune_input_{mode}"]) <= 1e-5


@pytest.mark.parametrize("every_layer_first", [True, False])
def test_layer_outputs_are_h_to_z(every_layer_first: bool) -> None:
    head = ProjectionHead(num_layers=3, out_dim=4)
    h = tf.random.stateless_normal([5, 8], [0, 0])
    if not every_layer_first:
        head(h)
    outputs = head.layer_outputs(h)
    assert [output.shape[1] for output in outputs] == [8, 8, 8, 4]
    np.testing.assert_array_equal(outputs[0], h)
    np.testing.assert_array_equal(outputs[-1], head(h))
    assert all(np.min(hidden) >= 0 for hidden in outputs[1:-1])
    assert np.min(outputs[-1]) < 0
    assert [v.name for v in head.trainable_variables[:3]] == [
        "projection_head/layer1/dense/kernel:0",
        "projection_head/layer1/bn/gamma:0",
        "projection_head/layer1/bn/beta:0",
    ]


def test_linear_head_is_one_dense_layer_and_batch_norm_without_offset() -> None:
    head = ProjectionHead("linear", out_dim=4)
    h = np.random.default_rng(0).normal(size=[32, 8]).astype(np.float32)
    outputs = head(h, training=True)
    assert [v.name.split("/")[-1] for v in head.trainable_variables] == ["kernel:0", "gamma:0"]
    product = h @ head.dense_layers[0].dense.kernel.numpy()
    expected = (product - product.mean(0)) / np.sqrt(product.var(0) + 1e-5)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_no_head_is_the_identity() -> None:
    head = ProjectionHead("none")
    h = tf.random.stateless_normal([5, 8], [0, 0])
    np.testing.assert_array_equal(head(h, training=True), h)
    assert len(head.layer_outputs(h)) == 1
    assert head.variables == []


def test_kernels_start_from_the_authors_distribution() -> None:
    head, classifier = ProjectionHead(out_dim=256), LinearClassifier(100)
    head(tf.zeros([1, 256]))
    classifier(tf.zeros([1, 256]))
    kernels = [layer.dense.kernel for layer in head.dense_layers] + [classifier.dense.kernel]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(0.01, rel=0.03)
        assert abs(np.mean(kernel)) < 5e-4
    assert not np.allclose(kernels[0], kernels[1])


def test_classifier() -> None:
    classifier = LinearClassifier(3, zero_init=True)
    h = tf.random.stateless_normal([5, 8], [0, 0])
    np.testing.assert_array_equal(classifier(h), np.zeros([5, 3]))
    classifier.dense.kernel.assign(tf.ones([8, 3]))
    classifier.dense.bias.assign([0.0, 1.0, 2.0])
    expected = np.sum(h, axis=1, keepdims=True) + np.arange(3.0)
    np.testing.assert_allclose(classifier(h), expected, rtol=1e-5, atol=1e-5)
    assert [v.name for v in classifier.variables] == ["classifier/dense/kernel:0", "classifier/dense/bias:0"]


@pytest.mark.parametrize(
    "layer",
    [
        ProjectionHead(num_layers=3, out_dim=4, batch_norm_decay=0.99, global_bn=False),
        ProjectionHead("linear", out_dim=4),
        LinearClassifier(4, zero_init=True),
    ],
)
def test_config_round_trip(layer: tf.keras.layers.Layer) -> None:
    h = tf.random.stateless_normal([5, 8], [0, 0])
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(h).shape, layer(h).shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(h), layer(h))
    if isinstance(layer, ProjectionHead):
        assert {(d.bn.decay, d.bn.global_bn) for d in again.dense_layers} == {
            (layer.batch_norm_decay, layer.global_bn)
        }


def test_mixed_precision_keeps_h_and_logits_in_float32() -> None:
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        head, identity, classifier = ProjectionHead(out_dim=4), ProjectionHead("none"), LinearClassifier(3)
    finally:
        tf.keras.mixed_precision.set_global_policy(None)
    h = tf.random.stateless_normal([5, 8], [0, 0])
    assert head(h, training=True).dtype == tf.float32
    assert head.dense_layers[0](h).dtype == tf.bfloat16
    np.testing.assert_array_equal(identity(h), h)
    assert classifier(h).dtype == tf.float32
    np.testing.assert_allclose(
        classifier(h), h.numpy() @ classifier.dense.kernel.numpy(), rtol=1e-5, atol=1e-6
    )


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="--proj_head_mode=mlp"):
        ProjectionHead("mlp")
    with pytest.raises(UsageError, match="--num_proj_layers=0"):
        ProjectionHead(num_layers=0)
    with pytest.raises(UsageError, match="at least one class"):
        LinearClassifier(0)


def test_a_head_frozen_before_it_is_built_keeps_its_statistics() -> None:
    head = ProjectionHead()
    head.trainable = False
    head(tf.zeros([4, 6]))
    before = [variable.numpy() for variable in head.variables]
    head(tf.random.stateless_normal([4, 6], [0, 1]), training=True)
    assert not head.trainable_variables
    for variable, value in zip(head.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
