"""What a user's encoder and batches must be: honoured, or refused in one line at the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_simclr import CLASSES, SIDE, N, batch, make, tiny_encoder, train
from tf_simclr.errors import UsageError
from tf_simclr.methods.byol import BYOL
from tf_simclr.models import Classifier, Pretraining, ProjectionHead, SimCLR

EAGER = {"compiling": {"run_eagerly": True}}


def views(**changes: Any) -> dict[str, tf.Tensor]:
    return {**batch(), **changes}


def three_views() -> dict[str, tf.Tensor]:
    found = batch()["views"]
    return views(views=tf.concat([found, found[:, :1]], axis=1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (views(views=tf.cast(batch()["views"], tf.int32)), "views: int32; give uint8 of 0 to 255, or floats"),
        (three_views(), r"views: \[6, 3, 8, 8, 3\]; give \[N, 2, H, W, C\], 2 views of each image"),
        (views(views=batch()["views"][:, 0]), r"views: \[6, 8, 8, 3\]; give \[N, 2, H, W, C\]"),
        ((batch()["views"], batch()["label"]), "a batch is a tuple: give a dict of 'views', 'label'"),
        (batch()["views"], "a batch is a .*Tensor: give a dict of 'views', 'label'"),
        ({"views": batch()["views"]}, "a batch has 'views': 'label' is missing"),
        (views(label=tf.ones([N])), r"label: float32 \(6,\); give int32 or int64 \[N\]"),
        (
            views(views=tf.cast(batch()["views"], tf.float32)),
            "floats that are no images in .*divide .* by 255",
        ),
        (views(views=tf.fill([N, 2, SIDE, SIDE, 3], -1.0)), "floats that are no images in"),
    ],
)
def test_what_is_no_batch_is_refused_in_one_line(data: Any, words: str) -> None:
    model = make(**EAGER)
    for use in (model.fit, model.evaluate):
        with pytest.raises(UsageError, match=words) as error:
            use(tf.data.Dataset.from_tensors(data), verbose=0)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (three_views(), r"^views: \[6, 3"),
        (views(views=255 * batch(kind="float32")["views"]), "^a batch has fl"),
    ],
)
def test_a_traced_step_says_no_more(data: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        make().fit(tf.data.Dataset.from_tensors(data), verbose=0)
    assert "\n" not in str(error.value)


def test_after_a_refusal_the_right_batches_are_trained_on() -> None:
    model = make()
    for data in (three_views(), batch()["views"]):
        with pytest.raises(UsageError):
            model.fit(tf.data.Dataset.from_tensors(data), verbose=0)
    np.testing.assert_array_equal(
        train(model, batch())["contrastive_loss"], train(make(), batch())["contrastive_loss"]
    )


def test_the_range_of_floats_is_looked_at_in_the_first_step_alone() -> None:
    model = make(**EAGER)
    train(model, batch(kind="float32"))
    train(model, views(views=tf.cast(batch()["views"], tf.float32)))
    classifier = Classifier(tiny_encoder(), CLASSES)
    classifier.compile()
    images = tf.data.Dataset.from_tensors({"image": tf.fill([2, SIDE, SIDE, 3], 200.0), "label": [0, 1]})
    with pytest.raises(UsageError, match="floats that are no images"):
        classifier.fit(images, verbose=0)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_floats_of_any_width_are_images(kind: str) -> None:
    data = views(views=tf.cast(batch(kind="float32")["views"], kind))
    loss, expected = (train(make(**EAGER), one)["contrastive_loss"] for one in (data, batch(kind="float32")))
    np.testing.assert_allclose(loss, expected, rtol=1e-2)


def test_a_dict_of_arrays_is_a_data_set() -> None:
    arrays = {name: value.numpy() for name, value in batch().items()}
    expected = train(make(**EAGER), batch())["contrastive_loss"]
    found = make(**EAGER).fit(arrays, batch_size=N, shuffle=False, verbose=0).history["contrastive_loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda x: x, r"encoder: gives float32 \[1, 4, 4, 2\], not one vector an image.*pooling='avg'"),
        (lambda x: [x[:, 0, 0], x[:, 0, 0]], "encoder: gives a list for images; give one tensor"),
        (lambda x: {"h": x[:, 0, 0]}, "encoder: gives a dict for images"),
        (lambda x: tf.cast(x[:, 0, 0], tf.int32), "encoder: gives int32"),
    ],
)
def test_an_encoder_gives_one_vector_an_image(output: Any, words: str) -> None:
    inputs = tf.keras.Input([SIDE, SIDE, 3])
    encoder = tf.keras.Model(inputs, output(tf.keras.layers.Conv2D(2, 1, 2)(inputs)))
    for model in (SimCLR(encoder, ProjectionHead()), Classifier(encoder, CLASSES)):
        with pytest.raises(UsageError, match=words):
            model.compile()


def test_a_model_of_keras_3_is_refused_by_name() -> None:
    functional = type("Functional", (), {"__module__": "keras.src.models.functional"})
    words = r"encoder: a keras.src.models.functional.Functional is of Keras 3.*TF_USE_LEGACY_KERAS=1"
    with pytest.raises(UsageError, match=words):
        SimCLR(functional(), ProjectionHead())
    with pytest.raises(UsageError, match=r"projection_head: a builtins.function is no layer"):
        SimCLR(tiny_encoder(), lambda h: h)  # type: ignore[arg-type]


def test_a_real_one_too() -> None:
    keras = pytest.importorskip("keras", minversion="3.0")
    real = keras.Sequential([keras.layers.Flatten()])
    for kind in (lambda: SimCLR(real, ProjectionHead()), lambda: Classifier(real, 2)):
        with pytest.raises(UsageError, match=r"encoder: a keras.src.*Sequential is of Keras 3"):
            kind()


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_is_above_0(temperature: float) -> None:
    with pytest.raises(UsageError, match="temperature"):
        SimCLR(tiny_encoder(), ProjectionHead(), temperature=temperature)


@pytest.mark.parametrize("name", ["whole.keras", "whole.h5", "whole"])
@pytest.mark.parametrize("called", [False, True])
def test_a_model_is_not_saved_whole(tmp_path: Path, name: str, called: bool) -> None:
    path = str(tmp_path / name)
    model, classifier = make(**EAGER), Classifier(tiny_encoder(), CLASSES)
    classifier.compile()
    if called:
        model(tf.zeros([1, SIDE, SIDE, 3]))
    whole = tf.keras.callbacks.ModelCheckpoint(path)
    ways = [
        lambda: model.save(path),
        lambda: model.fit(tf.data.Dataset.from_tensors(batch()), callbacks=[whole], verbose=0),
        lambda: classifier.save(path),
    ]
    for way in ways:
        with pytest.raises(UsageError, match=r"is not saved whole; models.save_run\(model, FOLDER\)"):
            way()
    assert not list(tmp_path.iterdir())
    with pytest.raises((UsageError, NotImplementedError, ValueError)):  # Keras's own refusals, too
        tf.keras.models.save_model(model, path)


def fixed(**options: Any) -> Pretraining:
    """Batch norm in inference mode, which `evaluate` has anyway; labels for the online classifier."""
    return make(encoder=lambda: tiny_encoder(trainable_norm=False), head="dense", **EAGER, **options)


def batches(size: int, labels: list[int]) -> tf.data.Dataset:
    data = {**batch(len(labels)), "label": np.array(labels, np.int64)}
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def test_evaluation_weighs_images_and_labels() -> None:
    """8 + 8 + 1 images are 17, though the last batch has one, and the second no label."""
    labels = [0, 1, 2, -1, 1, 0, 2, 1, *[-1] * 8, 2]
    model = fixed()
    cut, whole = (model.evaluate(batches(n, labels), return_dict=True, verbose=0) for n in (8, 17))
    for name in ("online_loss", "online_accuracy"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-5), name
    parts = [
        model.evaluate(
            batches(17, labels).unbatch().skip(start).take(n).batch(n), return_dict=True, verbose=0
        )
        for start, n in ((0, 8), (8, 8), (16, 1))
    ]
    mean = np.average([part["contrastive_loss"] for part in parts], weights=[8, 8, 1])
    assert cut["contrastive_loss"] == pytest.approx(mean, rel=1e-5)


def test_a_loss_of_single_images_is_the_same_in_any_batches() -> None:
    model = Pretraining(BYOL(), tiny_encoder(), ProjectionHead(out_dim=4))
    model.compile(run_eagerly=True)
    cut, whole = (model.evaluate(batches(n, [0] * 17), return_dict=True, verbose=0) for n in (8, 17))
    assert cut["byol_loss"] == pytest.approx(whole["byol_loss"], rel=1e-5)


@pytest.mark.parametrize("static", [False, True])
def test_partly_labelled_training_weighs_labels(static: bool) -> None:
    """The mean over an epoch of three batches with 6, 0 and 2 labels, by a classifier that does not learn."""
    labels = [0, 1, 2, 1, 0, 2, *[-1] * 6, 1, -1, -1, 2, -1, -1]
    model = fixed(optimizer=tf.keras.optimizers.SGD(0.0))
    data = batches(6, labels)
    if static:
        data = data.unbatch().batch(6, drop_remainder=True)
    history = model.fit(data, verbose=0).history
    expected = model.evaluate(batches(18, labels), return_dict=True, verbose=0)
    assert history["online_loss"] == [pytest.approx(expected["online_loss"], rel=1e-5)]


@pytest.mark.slow
def test_replicas_share_equally_or_nothing_is_trained(replicated: dict[str, np.ndarray]) -> None:
    assert str(replicated["shares/equal"]) == ""
    for name in ("odd", "unknown"):
        said = str(replicated[f"shares/{name}"])
        assert said.startswith("views: 2 replicas need equal shares: batch(..., drop_remainder=True)")
