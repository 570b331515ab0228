"""The traced functions of an export.

An export is a Reusable SavedModel: `__call__(inputs, training=False)`, `variables`, `trainable_variables`
and `regularization_losses`. It holds functions and variables only, no Keras object, so that any later
TensorFlow and Keras loads it. `serve` and `serve_training` are the same call with `training` fixed: Keras 3's
`TFSMLayer` looks for such endpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from . import image_bytes as image_bytes_lib

Call = Callable[[tf.Tensor, bool], tf.Tensor]
Preprocess = Callable[[tf.Tensor], tf.Tensor]  # an encoded image to [H, W, C] float32 in [0, 1]
Signatures = Mapping[str, tf.types.experimental.GenericFunction]
_NO_STATISTICS = "training=True needs an image at least: batch norm has no statistics of an empty batch"


def images(channels: int, name: str = "inputs") -> tf.TensorSpec:
    """The input of an encoder: [b, h, w, channels] float32."""
    return tf.TensorSpec([None, None, None, channels], tf.float32, name=name)


def vectors(width: int) -> tf.TensorSpec:
    """The input of a head: [b, width] float32."""
    return tf.TensorSpec([None, width], tf.float32, name="inputs")


def strings(name: str = "inputs") -> tf.TensorSpec:
    """The input of a text encoder: [b] string."""
    return tf.TensorSpec([None], tf.string, name=name)


def of_any_number(call: Call) -> Call:
    """`call` that answers no images with no rows: kernels of convolutions refuse an empty batch.

    With training=True the graph raises InvalidArgumentError then: there is no statistic of nothing.
    """

    def padded(inputs: tf.Tensor, training: bool) -> tf.Tensor:
        count = tf.shape(inputs)[0]
        if training:
            with tf.control_dependencies([tf.debugging.Assert(count > 0, [_NO_STATISTICS])]):
                return call(tf.identity(inputs), training)
        row = tf.zeros(tf.concat([[tf.cast(count == 0, tf.int32)], tf.shape(inputs)[1:]], 0), inputs.dtype)
        return call(tf.concat([inputs, row], axis=0), training)[:count]

    return padded


def reusable(
    call: Call, inputs: tf.TensorSpec, layers: Sequence[tf.keras.layers.Layer]
) -> tf.train.Checkpoint:
    """Wraps `call(inputs, training)`, computed by `layers`, as a Reusable SavedModel's root or part."""

    @tf.function
    def traced(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return call(inputs, training)

    for training in (False, True):
        traced.get_concrete_function(inputs, training=training)
    root = tf.train.Checkpoint()
    root.__call__ = traced
    root.serve = tf.function(lambda inputs: call(inputs, False), input_signature=[inputs])
    root.serve_training = tf.function(lambda inputs: call(inputs, True), input_signature=[inputs])
    root.variables = [variable for layer in layers for variable in layer.variables]
    root.trainable_variables = [variable for layer in layers for variable in layer.trainable_variables]
    root.regularization_losses = [
        _loss(layer, index) for layer in layers for index in range(len(layer.losses))
    ]
    return root


def _loss(layer: tf.keras.layers.Layer, index: int) -> Callable[[], tf.Tensor]:
    return tf.function(lambda: layer.losses[index], input_signature=[])


def encoder_signatures(call: Call, preprocess: Preprocess, image: tf.TensorSpec) -> Signatures:
    """`images` [b, h, w, C] float32 in [0, 1] or uint8, or `image_bytes` [b] string, to `default` [b, D]."""
    outputs = _image_signatures(lambda images: {"default": call(images, False)}, preprocess, image)
    return {**outputs, "image_feature_vector": outputs["serving_default"]}


def classifier_signatures(call: Call, preprocess: Preprocess, image: tf.TensorSpec) -> Signatures:
    """As the encoder's, to `default` (logits) and `probabilities`, both [b, classes]."""

    def outputs(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        logits = call(images, False)
        return {"default": logits, "probabilities": tf.nn.softmax(logits)}

    return _image_signatures(outputs, preprocess, image)


def head_signatures(call: Call, width: int) -> Signatures:
    """`representations` [b, D] float32 to `default` [b, P]."""
    spec = tf.TensorSpec([None, width], tf.float32, name="representations")

    @tf.function(input_signature=[spec])
    def serve(representations: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {"default": call(tf.ensure_shape(representations, spec.shape), False)}

    return {"serving_default": serve}


def text_signatures(call: Call) -> Signatures:
    """`texts` [b] string to `default` [b, P]."""
    return {
        "serving_default": tf.function(
            lambda texts: {"default": call(texts, False)}, input_signature=[strings("texts")]
        )
    }


def _image_signatures(
    outputs: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
    preprocess: Preprocess,
    image: tf.TensorSpec,
) -> Signatures:
    """Shapes are looked at in the graph: a loaded signature does not, and a kernel may end the process."""
    spec, encoded = images(image.shape[-1], "images"), tf.TensorSpec([None], tf.string, name="image_bytes")

    @tf.function(input_signature=[spec])
    def serve_images(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return outputs(tf.ensure_shape(images, spec.shape))

    @tf.function(input_signature=[tf.TensorSpec(spec.shape, tf.uint8, name="images")])
    def serve_uint8(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return outputs(tf.cast(tf.ensure_shape(images, spec.shape), tf.float32) / 255)

    @tf.function(input_signature=[encoded])
    def serve_bytes(image_bytes: tf.Tensor) -> Mapping[str, tf.Tensor]:
        files = tf.ensure_shape(image_bytes, encoded.shape)
        return outputs(image_bytes_lib.decoded(files, preprocess, image))

    return {"serving_default": serve_images, "serving_uint8": serve_uint8, "serving_bytes": serve_bytes}
