"""The parts of a run as an export computes them: float32 copies, their calls, signatures and test inputs."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.image_size import ImageSize, height_and_width

from . import signatures, verification
from .signatures import Preprocess
from .verify import TOLERANCE


@dataclasses.dataclass(frozen=True)
class Models:
    """What is exported and what its files say of it.

    Attributes:
        encoder: images [b, h, w, C] float32 in [0, 1] to h [b, D].
        image_size: of the run's images, for `serving_bytes`.
        step: the run's step; it names the version.
        projection_head: h to z, with its layers in `dense_layers`; None: not exported.
        classifier: to logits, from head layer `head_layer`'s output; 0: from h. None: not exported.
        class_names: one a class; empty: the numbers.
        center_crop_fraction, resize_first: of the run's evaluation view; see `data.views.evaluation_view`.
        upright: whether the run turned images as their EXIF orientation says.
        config: the run's configuration, as JSON holds it.
        git_commit: of the code that trained, where known.
        top1: measured accuracy in percent, where known.
        momentum: whether encoder and head are the method's moving averages of the trained ones.
        channels: C of the images.
        texts: strings to embeddings, with its `tokenizer` and `encoder`; None: not exported.
        licence: of the weights, for a hub's card.
        figures: pictures for it: the file's name and a PNG.
    """

    encoder: tf.keras.Model
    image_size: ImageSize
    step: int
    projection_head: tf.keras.layers.Layer | None = None
    classifier: tf.keras.layers.Layer | None = None
    head_layer: int = 0
    class_names: Sequence[str] = ()
    center_crop_fraction: float | None = None
    resize_first: bool = False
    upright: bool = False
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    git_commit: str | None = None
    top1: float | None = None
    momentum: bool = False
    channels: int = 3
    texts: Any = None
    licence: str = "unknown"
    figures: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Part:
    """One SavedModel.

    Attributes:
        call: (inputs, training) to outputs, by `layers`.
        layers: float32 and built; their variables are the export's, in order.
        spec: of the inputs.
        signatures: by name.
        cases: inputs to compare on.
        named: the layers that a head shows as sub-objects.
        words: what the graph looks words up in.
    """

    call: signatures.Call
    layers: Sequence[tf.keras.layers.Layer]
    spec: tf.TensorSpec
    signatures: signatures.Signatures
    cases: Sequence[np.ndarray]
    named: Mapping[str, tf.keras.layers.Layer] = dataclasses.field(default_factory=dict)
    words: Any = None

    @property
    def argument(self) -> str:
        """The name of the signatures' input."""
        return {4: "images", 2: "representations", 1: "texts"}[self.spec.shape.rank]


def build(models: Models, preprocess: Preprocess) -> dict[str, Part]:
    """The parts by the name of their folder: `encoder`; `projection_head`, `classifier`, `text_encoder` if
    there.

    `preprocess` maps an encoded image (scalar string) to [H, W, C] float32 in [0, 1].

    Raises:
        RuntimeError: a copy that does not answer as the float32 layer that it is of.
    """
    image = tf.TensorSpec([*height_and_width(models.image_size), models.channels])
    images = tf.constant(verification.image_cases(*image.shape)[0])
    encoder = _equal_copy(models.encoder, images)
    parts = {"encoder": _encoder(encoder, preprocess, image)}
    h = encoder(images)
    features = [encoder]
    if models.projection_head is not None:
        head = _equal_copy(models.projection_head, h)
        parts["projection_head"] = _head(head, h.shape[-1])
        features += head.dense_layers[: models.head_layer]
    if models.classifier is not None:
        for layer in features[1:]:
            h = layer(h)
        classifier = _equal_copy(models.classifier, h)
        parts["classifier"] = _classifier(features, classifier, preprocess, image)
    if models.texts is not None:
        parts["text_encoder"] = _text_encoder(models.texts)
    return parts


def _encoder(encoder: tf.keras.Model, preprocess: Preprocess, image: tf.TensorSpec) -> Part:
    call = signatures.of_any_number(in_order([encoder]))
    served = signatures.encoder_signatures(call, preprocess, image)
    cases = verification.image_cases(*image.shape)
    return Part(call, [encoder], signatures.images(image.shape[-1]), served, cases)


def _head(head: tf.keras.layers.Layer, width: int) -> Part:
    call = in_order([head])
    served = signatures.head_signatures(call, width)
    named = {layer.name: layer for layer in head.dense_layers}
    return Part(call, [head], signatures.vectors(width), served, verification.vector_cases(width), named)


def _classifier(
    features: Sequence[tf.keras.layers.Layer],
    classifier: tf.keras.layers.Layer,
    preprocess: Preprocess,
    image: tf.TensorSpec,
) -> Part:
    represent = in_order(features)

    def classify(images: tf.Tensor, training: bool) -> tf.Tensor:
        return classifier(represent(images, training))

    call = signatures.of_any_number(classify)
    served = signatures.classifier_signatures(call, preprocess, image)
    cases = verification.image_cases(*image.shape)
    return Part(call, [*features, classifier], signatures.images(image.shape[-1]), served, cases)


def _text_encoder(texts: Any) -> Part:
    cases = verification.text_cases(texts.tokenizer.vocabulary)
    tokenizer = texts.tokenizer
    encoder = _equal_copy(texts.encoder, tokenizer(tf.constant(cases[-1])))

    def call(strings: tf.Tensor, training: bool) -> tf.Tensor:
        return encoder(tokenizer(strings), training=training)

    served = signatures.text_signatures(call)
    return Part(call, [encoder], signatures.strings(), served, cases, words=tokenizer.words)


def in_order(layers: Sequence[tf.keras.layers.Layer]) -> signatures.Call:
    """The call that applies the layers one after another."""

    def call(inputs: tf.Tensor, training: bool) -> tf.Tensor:
        for layer in layers:
            inputs = layer(inputs, training=training)
        return inputs

    return call


def _equal_copy(layer: tf.keras.layers.Layer, inputs: tf.Tensor) -> tf.keras.layers.Layer:
    """The layer's `float32_copy`; where that is float32 too, they are compared on the inputs."""
    copy = float32_copy(layer, inputs.shape)
    if layer.compute_dtype == layer.dtype == "float32":
        with tf.device("/CPU:0"):
            live, found = layer(inputs).numpy(), copy(inputs).numpy()
        if not np.allclose(found, live, rtol=TOLERANCE, atol=TOLERANCE):
            raise RuntimeError(
                f"rebuilt from its configuration and weights, {layer.name} answers otherwise (by up to "
                f"{np.max(np.abs(found - live)):.1e}): something is missing in its get_config"
            )
    return copy


def float32_copy(layer: tf.keras.layers.Layer, input_shape: Sequence[int]) -> tf.keras.layers.Layer:
    """The same layer with its weights, in float32, all of it trainable, batch norm not synchronised."""
    config = {key: value for key, value in layer.get_config().items() if key not in ("dtype", "trainable")}
    if "global_bn" in config:
        config["global_bn"] = False
    with _float32(), tf.device("/CPU:0"):  # where verification runs; a SavedModel keeps no device
        copy = type(layer).from_config(config)
        copy(tf.zeros(input_shape))
    # By the object graph, since a frozen layer lists its variables in another order.
    with tempfile.TemporaryDirectory() as folder:
        path = tf.train.Checkpoint(layer=layer).write(os.path.join(folder, "weights"))
        tf.train.Checkpoint(layer=copy).read(path).assert_consumed()
    return copy


@contextmanager
def _float32() -> Iterator[None]:
    policy, floatx = tf.keras.mixed_precision.global_policy(), tf.keras.backend.floatx()
    tf.keras.backend.set_floatx("float32")
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        tf.keras.backend.set_floatx(floatx)
        tf.keras.mixed_precision.set_global_policy(policy)
