"""make_optimizer by name, and the l2 loss that stands for coupled decay."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.optimizers import LARS, WarmUpCosine, kernels_l2, make_optimizer

HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
needs_addons = pytest.mark.skipif(not HAS_ADDONS, reason="TensorFlow Addons is absent on this Python")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lars", LARS),
        ("momentum", tf.keras.optimizers.SGD),
        ("nesterov", tf.keras.optimizers.SGD),
        ("adam", tf.keras.optimizers.Adam),
    ],
)
def test_names(name: str, kind: type) -> None:
    optimizer = make_optimizer(name, WarmUpCosine(0.1, 10, 0), momentum=0.7, weight_decay=0.01)
    assert isinstance(optimizer, kind)
    config = optimizer.get_config()
    assert config.get("momentum", config.get("beta_1")) == 0.7
    assert bool(config.get("nesterov")) == (name == "nesterov")
    assert config["weight_decay"] == (0.01 if name == "lars" else None)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="optimizer: 'sgd' is not one of lars"):
        make_optimizer("sgd", 0.1, momentum=0.9, weight_decay=0.0)


@pytest.mark.skipif(HAS_ADDONS, reason="TensorFlow Addons is here")
def test_lamb_without_addons_is_one_line() -> None:
    with pytest.raises(UsageError, match="optimizer: lamb is TensorFlow Addons'"):
        make_optimizer("lamb", 0.1, momentum=0.9, weight_decay=0.0)


@needs_addons
def test_lamb_in_fit_and_in_a_custom_step() -> None:
    optimizer = make_optimizer("lamb", WarmUpCosine(0.1, 10, 0), momentum=0.9, weight_decay=0.1)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=[4])])
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=[8, 4]).astype("float32"), rng.normal(size=[8, 1])
    first = model.evaluate(images, targets, verbose=0)
    model.fit(images, targets, epochs=5, verbose=0)
    assert model.evaluate(images, targets, verbose=0) < first

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(images) - targets) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    before = int(optimizer.iterations)
    step()
    assert int(optimizer.iterations) == before + 1


@needs_addons
def test_lamb_decays_kernels_only() -> None:
    optimizer = make_optimizer("lamb", 0.1, momentum=0.9, weight_decay=0.1)
    kernel = tf.Variable([1.0, 1.0], name="conv/kernel")
    excluded = [tf.Variable([1.0, 1.0], name=f"bn/{n}") for n in ("gamma", "beta", "bias")]
    optimizer.apply_gradients([(tf.zeros([2]), v) for v in [kernel, *excluded]])
    assert (kernel.numpy() < 1).all()
    for variable in excluded:
        np.testing.assert_array_equal(variable, [1.0, 1.0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kernels_l2_has_coupled_decay_as_gradient(dtype: str) -> None:
    kernel = tf.Variable([[1.0, -2.0]], dtype=dtype)
    with tf.GradientTape() as tape:
        loss = kernels_l2([kernel], 0.5)
    np.testing.assert_allclose(loss, 0.5 * 5 / 2)
    np.testing.assert_allclose(tape.gradient(loss, kernel), 0.5 * kernel.numpy())
    assert float(kernels_l2([], 0.5)) == 0.0
