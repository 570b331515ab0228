"""The pretraining model: its step against a plain transcription, and what it must not do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.compiled import optimized, waits
from tf_simclr.augment import Augmentations, ColorDistortion, GaussianBlur
from tf_simclr.errors import UsageError
from tf_simclr.models import BatchNorm, Classifier, ProjectionHead, ResNet, SimCLR
from tf_simclr.models.pretraining import ONLINE_RATE
from tf_simclr.optimizers import LARS, WarmUpCosine

N, SIDE, CLASSES, TEMPERATURE = 6, 8, 3, 0.2
TRUST, RATE, DECAY, MOMENTUM = 0.1, 0.5, 0.01, 0.9


@pytest.fixture
def float64() -> Iterator[None]:
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")


@pytest.fixture
def policy() -> Iterator[Any]:
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy("float32")


def tiny_encoder(trainable_norm: bool = True, side: int = SIDE) -> tf.keras.Model:
    """A user's own functional encoder."""
    norm = BatchNorm()
    norm.trainable = trainable_norm
    return tf.keras.Sequential(
        [
            tf.keras.Input([side, side, 3]),
            tf.keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=True),
            norm,
            tf.keras.layers.ReLU(),
            tf.keras.layers.Conv2D(5, 3, strides=2, padding="same", use_bias=False),
            tf.keras.layers.GlobalAveragePooling2D(),
        ]
    )


def lars(rate: Any = RATE) -> LARS:
    return LARS(rate, MOMENTUM, DECAY, trust_coefficient=TRUST)


def make(
    optimizer: Any = None,
    *,
    encoder: Callable[[], tf.keras.Model] = tiny_encoder,
    head: str = "nonlinear",
    compiling: dict[str, Any] | None = None,
    **options: Any,
) -> SimCLR:
    """A compiled model, always of the same initial weights."""
    tf.keras.utils.set_random_seed(0)
    options = {"num_classes": CLASSES, "temperature": TEMPERATURE, **options}
    projection_head = ProjectionHead(out_dim=4) if head == "nonlinear" else tf.keras.layers.Dense(4)
    model = SimCLR(encoder(), projection_head, **options)
    model.compile(optimizer=optimizer or lars(), **(compiling or {}))
    return model


def batch(n: int = N, kind: str = "uint8", side: int = SIDE) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(1)
    views = rng.integers(0, 256, [n, 2, side, side, 3]).astype(np.uint8)
    views[:, 1] = views[:, 0] // 2 + views[:, 1] // 2
    if kind == "float32":
        views = (views / 255).astype(np.float32)
    return {"views": tf.constant(views), "label": tf.constant(rng.integers(0, CLASSES, n))}


def train(model: SimCLR, data: dict[str, tf.Tensor], steps: int = 1) -> dict[str, list[float]]:
    """`steps` steps on the same batch, by `fit`."""
    dataset = tf.data.Dataset.from_tensors(data).repeat(steps)
    return model.fit(dataset, verbose=0).history


def values(variables: list[tf.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def plain_step(model: SimCLR, data: dict[str, tf.Tensor]) -> tuple[float, list[np.ndarray]]:
    """Loss and new weights by Algorithm 1 in explicit loops, NT-Xent at 2L, LARS by its formula."""
    images = tf.cast(data["views"], tf.float64) / 255
    labels = np.asarray(data["label"])
    with tf.GradientTape() as tape:
        h = model.encoder(tf.concat([images[:, 0], images[:, 1]], 0), training=True)
        z = model.projection_head(h, training=True)
        u = z / tf.sqrt(tf.reduce_sum(z**2, axis=1, keepdims=True))
        terms = []
        for i in range(2 * N):
            j = (i + N) % (2 * N)
            denominator = sum(
                tf.exp(tf.tensordot(u[i], u[k], 1) / TEMPERATURE) for k in range(2 * N) if k != i
            )
            terms.append(tf.math.log(denominator) - tf.tensordot(u[i], u[j], 1) / TEMPERATURE)
        contrastive = tf.add_n(terms) / N
        kernel, bias = model.classifier.dense.kernel, model.classifier.dense.bias
        log_p = tf.nn.log_softmax(tf.stop_gradient(h) @ kernel + bias)
        online = -tf.add_n([log_p[v * N + i, labels[i]] for v in range(2) for i in range(N)]) / (2 * N)
        loss = contrastive + ONLINE_RATE * online
    gradients = tape.gradient(loss, model.trainable_variables)
    updated = []
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        rate, update = RATE, gradient.numpy()
        if variable.shape.rank > 1 and variable is not kernel:
            update = update + DECAY * variable.numpy()
            rate *= TRUST * np.linalg.norm(variable.numpy()) / np.linalg.norm(update)
        updated.append(variable.numpy() - rate * update)
    return float(contrastive), updated


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("eager", [True, False])
def test_a_step_equals_a_plain_transcription(eager: bool) -> None:
    model, data = make(compiling={"run_eagerly": eager}), batch()
    twin = make()
    loss, expected = plain_step(twin, data)
    history = train(model, data)
    np.testing.assert_allclose(history["contrastive_loss"], [loss], rtol=1e-6)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-8, err_msg=variable.name)


def test_the_online_classifier_sends_no_gradient_to_the_encoder() -> None:
    with_classifier, without = make(), make(num_classes=0)
    history = train(with_classifier, batch(), 3)
    train(without, batch(), 3)
    for part in ("encoder", "projection_head"):
        pairs = zip(getattr(with_classifier, part).variables, getattr(without, part).variables, strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.name)
    assert set(history) == {
        "contrastive_loss",
        "contrastive_accuracy",
        "contrastive_entropy",
        "online_loss",
        "online_accuracy",
    }
    assert np.any(with_classifier.classifier.dense.bias.numpy() != 0)


@pytest.mark.parametrize("wrapped", [False, True])
def test_vectors_and_the_classifier_are_excluded_and_nothing_else(wrapped: bool) -> None:
    """Without gradients, decay alone would move what is not excluded."""
    optimizer: Any = LARS(1.0, 0.0, 0.5, trust_coefficient=1.0)
    if wrapped:
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    model = make(optimizer)
    before = values(model.trainable_variables)
    classifier = {variable.ref() for variable in model.classifier.trainable_variables}
    model.optimizer.apply_gradients(
        [(tf.zeros_like(variable), variable) for variable in model.trainable_variables]
    )
    for variable, old in zip(model.trainable_variables, before, strict=True):
        decays = variable.shape.rank > 1 and variable.ref() not in classifier
        assert np.any(variable.numpy() != old) == decays, variable.name


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_views_may_be_bytes_or_floats_and_labels_and_uniforms_absent(kind: str) -> None:
    data = batch(kind=kind)
    model = make(num_classes=0, augmentations=Augmentations([ColorDistortion(), GaussianBlur()]))
    history = train(model, {"views": data["views"]}, 2)
    assert np.isfinite(history["contrastive_loss"]).all()
    plain = [make(), make()]
    for twin, form in zip(plain, ("uint8", "float32"), strict=True):
        train(twin, batch(kind=form))
    for a, b in zip(*(values(twin.trainable_variables) for twin in plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_without_uniforms_every_step_draws_anew_from_the_seed() -> None:
    augmentations = Augmentations([ColorDistortion()])
    models = [make(augmentations=augmentations, num_classes=0) for _ in range(2)]
    first = [model.augmented_views(batch()).numpy() for model in models]
    np.testing.assert_array_equal(*first)
    models[0].optimizer.iterations.assign(1)
    assert np.any(models[0].augmented_views(batch()).numpy() != first[0])
    same = {"views": tf.repeat(batch()["views"][:1], N, axis=0)}
    drawn = models[1].augmented_views(same).numpy()
    assert len(np.unique(drawn.reshape(2 * N, -1)[:, 0])) > N


def test_given_uniforms_are_used_view_by_view() -> None:
    augmentations = Augmentations([ColorDistortion()])
    model = make(augmentations=augmentations, num_classes=0)
    data = batch()
    uniforms = tf.random.stateless_uniform([N, 2, augmentations.num_uniforms], [1, 2])
    got = model.augmented_views({**data, "uniforms": uniforms})
    for view in range(2):
        for i in range(N):
            alone = augmentations(data["views"][i : i + 1, view], uniforms[i : i + 1, view])
            np.testing.assert_allclose(got[view * N + i], alone[0], atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("k", [2, 3])
def test_micro_batches_change_nothing_when_batch_norm_is_in_inference_mode(k: int) -> None:
    whole, chunked = (
        make(
            lars(WarmUpCosine(RATE, 10, 2)),
            encoder=lambda: tiny_encoder(trainable_norm=False),
            head="dense",
            micro_batches=micro_batches,
            l2=0.1,
        )
        for micro_batches in (1, k)
    )
    histories = [train(model, batch(), 4) for model in (whole, chunked)]
    for name, value in histories[0].items():
        np.testing.assert_allclose(value, histories[1][name], rtol=1e-6, err_msg=name)
    assert chunked.optimizer.iterations.numpy() == 4
    for a, b in zip(whole.variables, chunked.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-9, err_msg=a.name)


def test_micro_batches_move_the_statistics_once_to_the_mean_over_chunks() -> None:
    data = batch()
    chunked = make(micro_batches=3)
    expected = []
    for i in range(3):
        alone = make()
        pair = data["views"][i::3]
        views = tf.cast(tf.concat([pair[:, 0], pair[:, 1]], 0), tf.float32) / 255
        alone.represent(views, training=True)
        expected.append(values(alone.encoder.non_trainable_variables))
    train(chunked, data)
    found = values(chunked.encoder.non_trainable_variables)
    for got, chunks in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(got, np.mean(chunks, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_micro_batches_are_worked_through_one_by_one() -> None:
    """Two passes of two chunks of two convolutions, with three gradients in the second: none merged."""
    model = make(micro_batches=2, num_classes=0)
    model.optimizer.build(model.trainable_variables)
    program = optimized(tf.function(model.train_step, jit_compile=True), batch())
    found = re.findall(r"^ *(%[\w.-]+) = \S+ convolution\(", program, re.MULTILINE)
    assert len(found) == 2 * 2 + 2 * 2 + 2 * 3
    chunks = [found[:2], found[2:4], found[4:9], found[9:]]
    for before, chunk in itertools.pairwise(chunks):
        assert all(waits(program, chunk[0], convolution) for convolution in before)


def test_validation_measures_the_same_loss_and_moves_nothing() -> None:
    model = make(encoder=lambda: tiny_encoder(trainable_norm=False), head="dense")
    parts = [*model.encoder.variables, *model.projection_head.variables, *model.classifier.variables]
    before = values(parts)
    found = model.evaluate(tf.data.Dataset.from_tensors(batch()), return_dict=True, verbose=0)
    np.testing.assert_allclose(found["contrastive_loss"], plain_step(model, batch())[0], rtol=1e-5)
    for old, new in zip(before, values(parts), strict=True):
        np.testing.assert_array_equal(old, new)
    data = tf.data.Dataset.from_tensors(batch())
    history = model.fit(data, validation_data=data, verbose=0).history
    assert {name.removeprefix("val_") for name in history} == found.keys()


def test_validation_moves_no_statistics() -> None:
    model = make()
    before = values(model.encoder.non_trainable_variables)
    model.evaluate(tf.data.Dataset.from_tensors(batch()), verbose=0)
    for old, new in zip(before, values(model.encoder.non_trainable_variables), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_compiled_model_has_a_summary() -> None:
    lines: list[str] = []
    make().summary(print_fn=lines.append)
    assert any("Trainable params" in line for line in lines)


def test_a_classifier_is_evaluated_as_any_keras_model() -> None:
    model = Classifier(tiny_encoder(), CLASSES)
    model.compile("sgd")
    images = batch()["views"][:, 0]
    labels = batch()["label"]
    logits = model(tf.cast(images, tf.float32) / 255)
    found = model.evaluate(
        tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}).batch(4),  # 4 and 2
        return_dict=True,
        verbose=0,
    )
    losses = tf.keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    assert found["loss"] == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits, 1) == labels))


def test_micro_batches_must_divide_the_images() -> None:
    with pytest.raises(UsageError, match="--micro_batches=4 does not divide the 6 images"):
        train(make(micro_batches=4, compiling={"run_eagerly": True}), batch())
    views = batch()["views"]
    unknown = tf.data.Dataset.from_tensor_slices({"views": views}).batch(N)
    with pytest.raises(Exception, match=r"needs batches of a known size: use batch\(drop_remainder=True\)"):
        make(micro_batches=2, num_classes=0).fit(unknown, verbose=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_regularisers_of_a_users_encoder_are_minimised(micro_batches: int) -> None:
    """Half the squared norm of the kernels, as a regulariser, is what `l2` is."""

    def encoder(strength: float) -> tf.keras.Model:
        regularizer = tf.keras.regularizers.L2(strength / 2)
        layers = [tf.keras.layers.Conv2D(4, 3, use_bias=False, kernel_regularizer=regularizer)]
        return tf.keras.Sequential(
            [tf.keras.Input([SIDE, SIDE, 3]), *layers, tf.keras.layers.GlobalAveragePooling2D()]
        )

    def trained(strength: float, **options: Any) -> np.ndarray:
        model = make(encoder=lambda: encoder(strength), head="dense", num_classes=0, **options)
        model.projection_head.trainable = False  # `l2` is its, too
        model.compile(tf.keras.optimizers.SGD(0.1))
        train(model, batch(), 2)
        return model.encoder.trainable_variables[0].numpy()

    regularised = trained(0.5, micro_batches=micro_batches)
    np.testing.assert_allclose(regularised, trained(0.0, l2=0.5), rtol=1e-9)
    assert np.max(np.abs(regularised - trained(0.0))) > 1e-3


def test_micro_batches_leave_alone_what_z_does_not_depend_on() -> None:
    class Auxiliary(tf.keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.unused = self.add_weight("unused", [3])

        def call(self, images: tf.Tensor) -> tf.Tensor:
            return images

    def encoder() -> tf.keras.Model:
        return tf.keras.Sequential([tf.keras.Input([SIDE, SIDE, 3]), Auxiliary(), tf.keras.layers.Flatten()])

    models = [make(encoder=encoder, head="dense", micro_batches=k) for k in (1, 2)]
    before = values(models[1].encoder.trainable_variables)
    losses = [train(model, batch(), 2)["contrastive_loss"] for model in models]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    np.testing.assert_array_equal(before, values(models[1].encoder.trainable_variables))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_blocks_of_the_loss_change_nothing() -> None:
    plain, blocks = make(), make(block_size=4)
    train(plain, batch(), 2)
    train(blocks, batch(), 2)
    for a, b in zip(plain.variables, blocks.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-11, err_msg=a.name)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_whole_step_compiles_with_xla(micro_batches: int) -> None:
    """The nearest stand-in for a TPU: fixed shapes; at 24 px blur blurs. Views are float32 here too."""
    options = {
        "encoder": lambda: tiny_encoder(side=24),
        "augmentations": Augmentations([ColorDistortion(), GaussianBlur()]),
        "micro_batches": micro_batches,
        "block_size": 6,
    }
    data = batch(side=24)
    data["uniforms"] = tf.random.stateless_uniform([N, 2, options["augmentations"].num_uniforms], [1, 2])
    compiled, plain = make(compiling={"jit_compile": True}, **options), make(**options)
    histories = [train(model, data, 2) for model in (compiled, plain)]
    for name, value in histories[0].items():
        np.testing.assert_allclose(value, histories[1][name], rtol=1e-5, err_msg=name)
    for ours, theirs in zip(compiled.variables, plain.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-5, err_msg=ours.name)


def test_the_step_of_a_resnet_has_an_xla_kernel_for_everything() -> None:
    """Brought into XLA's language and not compiled, which takes long."""
    augmentations = Augmentations([ColorDistortion(), GaussianBlur()])
    model = make(encoder=lambda: ResNet(18, 1 / 16, stem="cifar"), augmentations=augmentations, block_size=4)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, jit_compile=True)
    program = step.experimental_get_compiler_ir(batch(side=24))(stage="hlo")
    assert "convolution" in program
    assert "f64[" not in program


def test_the_step_on_two_replicas_has_nothing_that_tpus_lack(replicated: dict[str, np.ndarray]) -> None:
    """No random state, nothing that only the host can do, no type that TPUs emulate."""
    types = set(replicated["step/types"])
    assert {"Conv2D", "CollectiveReduceV2"} & types  # it is the step, not an empty graph
    random = {name for name in types if "Random" in name and not name.startswith("Stateless")}
    host = {
        name for name in types if "PyFunc" in name or "String" in name or "Unique" in name or name == "Where"
    }
    assert not random | host
    assert not list(replicated["step/float64"])


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_half_precision_scales_the_loss_and_skips_steps_that_overflow(
    policy: Any, micro_batches: int
) -> None:
    policy("mixed_float16")
    scaled = tf.keras.mixed_precision.LossScaleOptimizer
    assert isinstance(make().optimizer, scaled)
    model = make(scaled(lars(), initial_scale=2.0**127), micro_batches=micro_batches)
    assert {variable.dtype for variable in model.trainable_variables} == {tf.float32}
    before = values(model.trainable_variables)
    train(model, batch())
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    assert float(model.optimizer.loss_scale) == 2.0**126
    assert model.optimizer.iterations.numpy() == 1  # the schedule goes on
    model = make(scaled(lars(), initial_scale=1.0), micro_batches=micro_batches)
    history = train(model, batch())
    assert np.isfinite(history["contrastive_loss"]).all()
    changed = [np.any(v.numpy() != old) for v, old in zip(model.trainable_variables, before, strict=True)]
    assert all(changed)


def test_the_scale_of_the_loss_does_not_reach_the_weights(policy: Any) -> None:
    """SGD, which unlike LARS would show a scale that is taken out twice, or not at all."""
    policy("mixed_float16")
    models = [
        make(
            tf.keras.mixed_precision.LossScaleOptimizer(
                tf.keras.optimizers.SGD(0.1), dynamic=False, initial_scale=scale
            ),
            encoder=lambda: tiny_encoder(trainable_norm=False),
            head="dense",
            micro_batches=micro_batches,
            l2=0.1,
        )
        for micro_batches, scale in ((1, 1.0), (1, 2.0**10), (2, 2.0**10))
    ]
    before = values(models[0].trainable_variables)
    for model in models:
        train(model, batch())
    for old, one, *others in zip(before, *(values(m.trainable_variables) for m in models), strict=True):
        for other in others:
            assert np.linalg.norm(other - one) < 0.02 * np.linalg.norm(one - old)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_precision_is_that_of_the_encoder_alone(policy: Any, name: str) -> None:
    reference = make()
    expected = train(reference, batch())["contrastive_loss"]
    policy(name)
    model = make()
    h, z = model.represent(tf.zeros([2, SIDE, SIDE, 3]), training=False)
    assert h.dtype.name == name.removeprefix("mixed_")  # a user's encoder; ours casts h to float32
    assert z.dtype == tf.float32
    np.testing.assert_allclose(train(model, batch())["contrastive_loss"], expected, rtol=0.05)


class Flattened(tf.keras.Model):
    """An encoder that does not say what size of images it takes, and is built for one."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = tf.keras.layers.Dense(5)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.dense(tf.keras.layers.Flatten()(images))


def test_an_encoder_that_does_not_say_its_size_is_built_for_the_one_given() -> None:
    model = make(encoder=Flattened, compiling={"image_size": SIDE})
    assert np.isfinite(train(model, batch())["contrastive_loss"]).all()
