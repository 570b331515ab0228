"""A small trained-looking model and its exports, made once for all tests of this folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import formats
from export.formats import CONVERTED
from export.parts import Models
from export.samples import Samples
from export.saved_model import export_models
from tf_simclr.errors import UsageError
from tf_simclr.models import LinearClassifier, ProjectionHead, ResNet

STEP = 1000
Encode = Callable[..., tf.Tensor]


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def randomize(*layers: tf.keras.layers.Layer) -> None:
    """Random weights everywhere: at initialisation a block's last gamma is 0 and hides the rest of it."""
    generator = np.random.default_rng(1)
    for layer in layers:
        for variable in layer.variables:
            noise = generator.normal(size=variable.shape)
            centre = 1.0 if "gamma" in variable.name or "variance" in variable.name else 0.0
            variable.assign(centre + 0.1 * noise)


@pytest.fixture(scope="session")
def models() -> Models:
    """A classifier on the first layer of a two-layer head."""
    encoder = ResNet(18, width_multiplier=0.25, stem="cifar")
    head, classifier = ProjectionHead(out_dim=16), LinearClassifier(3)
    h = encoder(tf.zeros([1, 32, 32, 3]))
    head(h)
    classifier(head.layer_outputs(h)[1])
    randomize(encoder, head, classifier)
    return Models(
        encoder=encoder,
        image_size=32,
        step=STEP,
        projection_head=head,
        classifier=classifier,
        head_layer=1,
        class_names=("cat", "dög", "tree frog"),
        config={"command": "finetune", "data": {"dataset": "digits"}},
        git_commit="0123abc",
        top1=87.5,
    )


@pytest.fixture(params=["18", pytest.param("50_sk_se", marks=pytest.mark.slow)])
def encoder(request: pytest.FixtureRequest, models: Models) -> ResNet:
    if request.param == "18":
        return models.encoder
    selective = ResNet(50, width_multiplier=0.0625, sk_ratio=0.0625, se_ratio=0.25)
    randomize(selective)
    return selective


@pytest.fixture(scope="session")
def exports(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a whole export, which verified itself in a fresh process."""
    folder = tmp_path_factory.mktemp("exports")
    export_models(models, str(folder))
    return folder


@pytest.fixture
def small(models: Models, monkeypatch: pytest.MonkeyPatch) -> Models:
    """An export that takes no time: no fresh process, an encoder of one layer."""
    monkeypatch.setattr("export.saved_model._verify", lambda folders: None)
    return dataclasses.replace(
        models, encoder=OneLayer(), image_size=4, projection_head=None, classifier=None, head_layer=0
    )


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Grey levels in three classes; the last image has no label."""
    generator = np.random.default_rng(0)
    labels = np.arange(41) % 3
    images = (generator.random((41, 8, 8, 3)) + labels[:, None, None, None]) / 4
    labels[-1] = -1
    batches = tf.data.Dataset.from_tensor_slices({"image": images.astype(np.float32), "label": labels}).batch(
        16
    )
    return Samples(batches, batches, "grey test")


@pytest.fixture(scope="session")
def one_layer(models: Models) -> Models:
    """A classifier on the first layer of a head, on an encoder of one layer."""
    encoder, head, classifier = OneLayer(), ProjectionHead(out_dim=4), LinearClassifier(3)
    classifier(head.layer_outputs(encoder(tf.zeros([1, 4, 4, 3])))[1])
    randomize(encoder, head, classifier)
    parts = {"encoder": encoder, "projection_head": head, "classifier": classifier}
    return dataclasses.replace(models, **parts, image_size=8)


@pytest.fixture(scope="session")
def converted(one_layer: Models, samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of every part in every converted format whose package is here."""
    folder = tmp_path_factory.mktemp("converted")
    export_models(one_layer, str(folder), formats=[name for name in CONVERTED if here(name)], samples=samples)
    return folder


def here(name: str) -> bool:
    try:
        formats.check([name])
    except UsageError:
        return False
    return True


@tf.keras.utils.register_keras_serializable(package="tests")
class OneLayer(tf.keras.Model):
    """An encoder of a user's: the mean colour through a dense layer with an l2 loss, and batch norm."""

    output_dim = 5

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dense = tf.keras.layers.Dense(5, kernel_regularizer=tf.keras.regularizers.L2(0.5))
        self.bn = tf.keras.layers.BatchNormalization()
        self(tf.zeros([1, 4, 4, 3]))

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.bn(self.dense(tf.reduce_mean(images, [1, 2])), training=training)

    def get_config(self) -> dict[str, object]:
        return {}
