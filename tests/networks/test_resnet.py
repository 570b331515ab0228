"""The encoder against the authors' numbers, and what it promises by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models import BatchNorm, ResNet
from tf_simclr.networks import resnet as resnet_module

GOLDEN = {
    "resnet18_cifar": {"depth": 18, "width_multiplier": 0.25, "stem": "cifar"},
    "resnet50_imagenet": {"depth": 50, "width_multiplier": 0.25},
    "resnet50_sk": {"depth": 50, "width_multiplier": 0.125, "sk_ratio": 0.0625},
}
TINY = {"depth": 18, "width_multiplier": 0.0625, "stem": "cifar"}


@pytest.fixture(params=sorted(GOLDEN))
def case(request: pytest.FixtureRequest, shared: Callable[[str], Path]) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(shared(f"golden/{request.param}.npz")) as arrays:
        return GOLDEN[request.param], dict(arrays)


@pytest.fixture
def float64() -> Iterator[None]:
    tf.keras.mixed_precision.set_global_policy(None)
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")


def official_names(names: list[str], prefix: str = "") -> list[str]:
    """The authors' variable names in creation order, which the numbers in them follow."""

    def number(name: str, kind: str) -> int:
        return int(re.search(rf"(?:^|/){kind}(?:_(\d+))?/[a-z_]+$", name)[1] or 0)

    names = [name for name in names if name.startswith(prefix)]
    kernels = sorted((n for n in names if n.endswith("kernel")), key=lambda n: number(n, "conv2d"))
    norms = {}
    for name in names:
        if not name.endswith("kernel"):
            norms.setdefault(number(name, "(?:sync_)?batch_normalization"), {})[name.split("/")[-1]] = name
    ordered_norms = [norms[i] for i in sorted(norms)]
    return kernels + [
        norm[key] for norm in ordered_norms for key in ("gamma", "beta", "moving_mean", "moving_variance")
    ]


def our_variables(encoder: ResNet) -> list[tf.Variable]:
    pairs = encoder.variables_in_creation_order()
    kernels = [variable for path, variable in pairs if path.endswith("kernel")]
    return kernels + [variable for path, variable in pairs if not path.endswith("kernel")]


def mapping(encoder: ResNet, arrays: dict[str, np.ndarray]) -> dict[str, tf.Variable]:
    names = official_names([name for name in arrays if name.startswith("var")])
    variables = our_variables(encoder)
    assert len(names) == len(variables)
    return dict(zip(names, variables, strict=True))


def loaded(config: dict, arrays: dict[str, np.ndarray]) -> tuple[ResNet, dict[str, tf.Variable]]:
    encoder = ResNet(**config)
    variables = mapping(encoder, arrays)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return encoder, variables


def distance(actual: tf.Tensor, expected: np.ndarray) -> float:
    """Relative, by norm."""
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))


def test_equals_the_authors_in_float64(case: tuple, float64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config, arrays = case
    encoder, variables = loaded(config, arrays)
    images = tf.constant(arrays["input"], tf.float64)
    assert distance(encoder(images), arrays["features_inference"]) < 1e-6

    sources = [variables[name] for name in sorted(variables) if variables[name].trainable]
    counts = record_counts(monkeypatch)
    with tf.GradientTape() as tape:
        features = encoder(images, training=True)
        loss = tf.reduce_mean(features**2)
    gradients = tape.gradient(loss, sources)
    assert distance(features, arrays["features_training"]) < 1e-6
    assert distance(gradients[0], arrays["grad_first_kernel"]) < 1e-6
    assert distance(gradients[-1], arrays["grad_last"]) < 1e-6
    norms = np.array([np.linalg.norm(gradient) for gradient in gradients])
    np.testing.assert_allclose(norms, arrays["grad_norms"], rtol=1e-6, atol=1e-9)
    assert_moving_statistics(variables, arrays, counts)


def record_counts(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How many values each batch norm saw a channel, by the identity of its moving variance."""
    counts: dict[int, int] = {}
    call = BatchNorm.call

    def recording(self: BatchNorm, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        counts[id(self.moving_variance)] = int(np.prod(inputs.shape[:-1]))
        return call(self, inputs, training)

    monkeypatch.setattr(BatchNorm, "call", recording)
    return counts


def assert_moving_statistics(
    variables: dict[str, tf.Variable], arrays: dict[str, np.ndarray], counts: dict[int, int]
) -> None:
    after = {name.split("/", 1)[1]: value for name, value in arrays.items() if name.startswith("after")}
    assert len(after) == 2 * len(counts)
    for name, variable in variables.items():
        value = variable.numpy()
        if name.endswith("moving_variance"):  # the authors' is the population variance
            n = counts[id(variable)]
            value = 0.9 * arrays[name] + (value - 0.9 * arrays[name]) * (n - 1) / n
        if "/moving_" in name:
            assert distance(value, after[name.split("/", 1)[1]]) < 1e-6, name


def test_float32_features_are_near(case: tuple) -> None:
    config, arrays = case
    encoder, _ = loaded(config, arrays)
    assert distance(encoder(arrays["input"]), arrays["features_inference"]) < 1e-3
    assert distance(encoder(arrays["input"], training=True), arrays["features_training"]) < 1e-3


def test_same_padding_of_strided_convolutions_would_be_seen(
    shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(shared("golden/resnet18_cifar.npz")) as arrays:
        encoder, _ = loaded(GOLDEN["resnet18_cifar"], dict(arrays))
        expected, images = arrays["features_inference"], arrays["input"]
    monkeypatch.setattr(
        resnet_module, "_pad", lambda x, k: tf.pad(x, [[0, 0], [0, k - 1], [0, k - 1], [0, 0]])
    )
    assert distance(encoder(images), expected) > 1e-2


def test_tf1_checkpoint_gives_the_authors_representation(shared: Callable[[str], Path]) -> None:
    folder = shared("golden/tf1_resnet18_cifar")
    reader = tf.train.load_checkpoint(str(folder))
    names = [name for name in reader.get_variable_to_shape_map() if not name.endswith("Momentum")]
    encoder = ResNet(**GOLDEN["resnet18_cifar"])
    names = official_names(names, prefix="base_model/")
    for name, variable in zip(names, our_variables(encoder), strict=True):
        variable.assign(reader.get_tensor(name))
    with np.load(folder / "outputs.npz") as outputs:
        assert distance(encoder(outputs["input"]), outputs["representation"]) < 1e-4


@pytest.mark.parametrize(("listing", "sk_ratio"), [("1x", 0.0), ("1x_sk", 0.0625)])
def test_full_width_variables_follow_the_published_list(golden: Path, listing: str, sk_ratio: float) -> None:
    lines = (golden / f"tf1_variables_resnet50_{listing}_v2.txt").read_text().split("\n")
    theirs = [line.split() for line in lines if line.startswith("base_model/")]
    with tf.Graph().as_default():  # shapes only
        ours = ResNet(50, sk_ratio=sk_ratio).variables_in_creation_order()
    assert [(name.split("/")[-1], shape) for name, shape in theirs] == [
        (path.split("/")[-1], "x".join(map(str, variable.shape))) for path, variable in ours
    ]


@pytest.mark.parametrize(("width", "millions"), [(1, 24), (2, 94), (4, 375)])
def test_parameter_counts_of_the_paper(width: int, millions: int) -> None:
    with tf.Graph().as_default():
        encoder = ResNet(50, width)
    count = sum(variable.shape.num_elements() for variable in encoder.trainable_variables)
    assert round(count / 1e6) == millions
    assert encoder.output_dim == 2048 * width


@pytest.mark.parametrize(
    ("depth", "convolutions"),
    [
        (18, 21),
        (34, 37),
        (50, 53),
        (101, 104),
        *(pytest.param(d, d + 3, marks=pytest.mark.slow) for d in (152, 200)),
    ],
)
def test_depth_counts_convolutions(depth: int, convolutions: int) -> None:
    with tf.Graph().as_default():
        encoder = ResNet(depth, 1 / 16)
    kernels = [path for path, _ in encoder.variables_in_creation_order() if path.endswith("kernel")]
    assert len(kernels) == convolutions  # depth - 1 and four projection shortcuts
    assert encoder.output_dim == (32 if depth < 50 else 128)


def test_names_are_readable_and_stable() -> None:
    first, second = ResNet(**TINY), ResNet(**TINY)
    assert [v.name for v in first.variables] == [v.name for v in second.variables]
    for path, variable in first.variables_in_creation_order():
        assert variable.name == f"encoder/{path}:0"
    assert {id(v) for _, v in first.variables_in_creation_order()} == {id(v) for v in first.variables}


def test_squeeze_excitation_follows_its_formula() -> None:
    layer = resnet_module._SqueezeExcitation(width=8, se_ratio=0.25)
    x = np.random.default_rng(0).normal(size=[2, 3, 3, 32]).astype(np.float32)
    layer(x)
    reduce, expand = layer.reduce.weights, layer.expand.weights
    assert reduce[0].shape == [1, 1, 32, 2]
    reduce[1].assign([0.1, -0.2])
    expand[1].assign(np.linspace(-1, 1, 32))
    hidden = np.maximum(x.mean((1, 2)) @ reduce[0][0, 0].numpy() + reduce[1].numpy(), 0)
    gate = 1 / (1 + np.exp(-(hidden @ expand[0][0, 0].numpy() + expand[1].numpy())))
    np.testing.assert_allclose(layer(x), x * gate[:, None, None], rtol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        {
            "depth": 50,
            "width_multiplier": 0.0625,
            "sk_ratio": 0.0625,
            "se_ratio": 0.25,
            "batch_norm_decay": 0.99,
        },
    ],
)
def test_config_round_trip(config: dict) -> None:
    encoder = ResNet(**config)
    again = ResNet.from_config(encoder.get_config())
    assert again.get_config() == encoder.get_config()
    again.set_weights(encoder.get_weights())
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 2])
    np.testing.assert_array_equal(again(images), encoder(images))
    decays = {layer.decay for layer in again.submodules if isinstance(layer, BatchNorm)}
    assert decays == {config.get("batch_norm_decay", 0.9)}


def test_blocks_start_as_their_shortcut() -> None:
    """The last gamma of each block is 0 (authors' code), all others 1."""
    for depth, last in ((18, "bn2"), (50, "bn3")):
        for path, variable in ResNet(depth, 1 / 16).variables_in_creation_order():
            if path.endswith("gamma"):
                assert np.all(variable.numpy() == (0 if f"{last}/gamma" in path else 1)), path


def test_variance_scaling_of_the_kernels() -> None:
    kernel = dict(ResNet(18, 0.5).variables_in_creation_order())["group4/block1/conv2/kernel"].numpy()
    assert np.var(kernel) == pytest.approx(1 / (9 * 256), rel=0.02)


def test_any_size_in_a_traced_function() -> None:
    encoder = ResNet(**{**TINY, "stem": "imagenet"})
    traced = tf.function(encoder, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for shape in ([1, 32, 32, 3], [3, 17, 40, 3], [2, 1, 1, 3]):
        images = tf.random.stateless_uniform(shape, [0, 1])
        np.testing.assert_allclose(traced(images), encoder(images), atol=1e-5)
        assert traced(images).shape == [shape[0], encoder.output_dim]


@pytest.mark.parametrize("last_frozen_group", range(-1, 5))
def test_freeze(last_frozen_group: int) -> None:
    encoder = ResNet(**TINY)
    encoder.freeze(4)
    encoder.freeze(last_frozen_group)
    before = {path: variable.numpy() for path, variable in encoder.variables_in_creation_order()}
    images = tf.random.stateless_uniform([2, 8, 8, 3], [3, 4])
    encoder(images, training=True)
    names = ["stem", "group1", "group2", "group3", "group4"]
    for path, variable in encoder.variables_in_creation_order():
        frozen = names.index(path.split("/")[0]) <= last_frozen_group
        assert any(variable is v for v in encoder.trainable_variables) == (
            "moving" not in path and not frozen
        )
        moved = not np.array_equal(variable.numpy(), before[path])
        assert moved == ("moving" in path and not frozen), path
    if last_frozen_group == 4:  # inference mode throughout
        np.testing.assert_array_equal(encoder(images, training=True), encoder(images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy: str) -> None:
    config = {"depth": 18, "width_multiplier": 0.125, "sk_ratio": 0.0625, "se_ratio": 0.25}
    full = ResNet(**config)
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        mixed = ResNet(**config)
    finally:
        tf.keras.mixed_precision.set_global_policy(None)
    mixed.set_weights(full.get_weights())
    images = tf.random.stateless_uniform([4, 32, 32, 3], [5, 6])
    assert {v.dtype for v in mixed.variables} == {tf.float32}
    assert mixed(images).dtype == tf.float32
    assert distance(mixed(images), full(images).numpy()) < 0.05
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(mixed(images, training=True) ** 2)
    gradients = tape.gradient(loss, mixed.trainable_variables)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    encoder, other = ResNet(**TINY), ResNet(**TINY)
    path = tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(encoder=other).read(path).assert_consumed()
    for ours, theirs in zip(encoder.variables, other.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"depth": 51}, "--resnet_depth=51"),
        ({"stem": "mnist"}, "--stem=mnist"),
        ({"width_multiplier": 0.01}, "--width_multiplier"),
        ({"width_multiplier": -1.0}, "--width_multiplier"),
    ],
)
def test_mistakes_are_named(config: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        ResNet(**config)
    with pytest.raises(UsageError, match="--fine_tune_after_block"):
        ResNet(**TINY).freeze(5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_step_is_traced_with_unknown_sizes(jit_compile: bool) -> None:
    encoder = ResNet(**TINY)

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec([None, None, None, 3])])
    def step(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(images, training=True) ** 2)
        return tape.gradient(loss, encoder.trainable_variables)

    gradients = step(tf.random.stateless_uniform([3, 9, 8, 3], [7, 8]))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    assert np.linalg.norm(gradients[0]) > 0
    assert not np.array_equal(encoder.groups[0].parts[1].moving_mean, np.zeros(4))
