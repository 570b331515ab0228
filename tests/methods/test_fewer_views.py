"""A method that encodes only the first of its views, as one with asymmetric views does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.methods.method import Method
from tf_simclr.models import BatchNorm, Pretraining, ProjectionHead
from tf_simclr.models.pretraining import ONLINE_RATE
from tf_simclr.replicas.gather import replica_share

IMAGES = 8


@dataclasses.dataclass(frozen=True)
class OneView(Method):
    """Pulls row i of z to i: what mixes rows up is seen."""

    figures: ClassVar[tuple[str, ...]] = ("distance",)

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> Any:
        return super().outputs(model, tf.split(views, 2)[0], training)

    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> Any:
        places = tf.range(outputs.shape[0], dtype=outputs.dtype)[:, tf.newaxis]
        distance = tf.reduce_mean(tf.square(outputs - places))
        return replica_share(distance), {"distance": distance}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")


def model(chunks: int) -> Pretraining:
    tf.keras.utils.set_random_seed(0)
    made = Pretraining(
        OneView(), parity.small_encoder(), ProjectionHead(out_dim=3), num_classes=2, micro_batches=chunks
    )
    made.compile()
    for layer in made.submodules:
        if isinstance(layer, BatchNorm):
            layer.trainable = False
    made.compile(tf.keras.optimizers.SGD(0.1))
    return made


def batch() -> dict[str, tf.Tensor]:
    views = tf.random.stateless_uniform([IMAGES, 2, parity.SIDE, parity.SIDE, 3], [1, 2], dtype=tf.float64)
    return {"views": views, "label": tf.constant([0, 1, 1, 0, -1, 1, 0, 0])}


def test_a_step_is_that_of_the_first_views() -> None:
    trained, plain, data = model(1), model(1), batch()
    with tf.GradientTape() as tape:
        h = plain.encoder(data["views"][:, 0])
        rows = plain.projection_head(h) - tf.range(IMAGES, dtype=h.dtype)[:, tf.newaxis]
        labelled = data["label"] >= 0
        logits = plain.classifier(tf.stop_gradient(h))[labelled]
        online = tf.keras.losses.sparse_categorical_crossentropy(data["label"][labelled], logits, True)
        loss = tf.reduce_mean(rows**2) + ONLINE_RATE * tf.reduce_mean(online)
    gradients = tape.gradient(loss, plain.trainable_variables)
    trained.fit(tf.data.Dataset.from_tensors(data), verbose=0)
    for found, variable, d in zip(
        trained.trainable_variables, plain.trainable_variables, gradients, strict=True
    ):
        np.testing.assert_allclose(found, variable - 0.1 * d, rtol=1e-6)


def test_chunks_keep_the_rows_in_order() -> None:
    whole, chunked = model(1), model(4)
    for one in (whole, chunked):
        one.fit(tf.data.Dataset.from_tensors(batch()), verbose=0)
    for ours, theirs in zip(whole.trainable_variables, chunked.trainable_variables, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)
