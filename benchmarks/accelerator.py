"""What a pretraining step costs in arithmetic and memory traffic, to state a device's share of its limit.

The model: a step of convolutions is bound by arithmetic (multiply-accumulates, MAC; backward costs twice
forward) or by the traffic of activations, whichever takes longer. A data sheet gives both limits.
"""

from __future__ import annotations

import dataclasses
import time

import tensorflow as tf

from tf_simclr import augment, models, optimizers

PASSES = 3  # forward once, backward by inputs and by weights
VIEWS = 2
TRAFFIC = {"Conv2D", "FusedBatchNormV3", "Relu", "AddV2", "MaxPool"}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one view, forward: `macs`, and `elements` that operations read and write."""

    macs: float
    elements: float

    def gmacs_of_image(self) -> float:
        """10^9 MAC of an image in pretraining: two views, forward and backward."""
        return VIEWS * PASSES * self.macs / 1e9

    def gigabytes_of_image(self, bytes_an_element: int) -> float:
        """10^9 bytes that an image moves, if nothing stays in a cache."""
        return VIEWS * PASSES * self.elements * bytes_an_element / 1e9


def cost(encoder: tf.keras.Model, side: int) -> Cost:
    """Counted on the traced graph; TensorFlow's profiler counts the arithmetic of convolutions."""

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return encoder(images, training=True)

    graph = forward.get_concrete_function(tf.TensorSpec([1, side, side, 3], tf.float32)).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    flops = profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops
    moved = [op for op in graph.get_operations() if op.type in TRAFFIC]
    return Cost(flops / 2, sum(_elements(tensor) for op in moved for tensor in _activations(op)))


def _activations(op: tf.Operation) -> list[tf.Tensor]:
    """What an operation reads and writes of one view; weights are read once for the whole batch."""
    inputs = op.inputs[:1] if op.type == "Conv2D" else op.inputs
    return [tensor for tensor in [*inputs, op.outputs[0]] if tensor.shape.rank == 4]


def _elements(tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements()


def report(batch_size: int = 256, side: int = 224, steps: int = 20) -> str:
    """Times a bfloat16 step of ResNet-50 on the GPU and states MAC and bytes a second."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    encoder = models.ResNet(50)
    augmentations = augment.Augmentations([augment.ColorDistortion(), augment.GaussianBlur()])
    model = models.SimCLR(encoder, models.ProjectionHead(), augmentations)
    model.compile(optimizers.LARS(0.3, weight_decay=1e-6), jit_compile=True)
    views = tf.cast(tf.random.uniform([batch_size, 2, side, side, 3], 0, 256, tf.int32), tf.uint8)
    batches = tf.data.Dataset.from_tensors({"views": views}).repeat()
    train, iterator = model.make_train_function(), iter(batches)
    for _ in range(3):
        logs = train(iterator)
    _wait(logs)
    began = time.perf_counter()
    for _ in range(steps):
        logs = train(iterator)
    _wait(logs)
    speed = steps * batch_size / (time.perf_counter() - began)
    one = cost(encoder, side)
    gmacs, gigabytes = one.gmacs_of_image(), one.gigabytes_of_image(2)
    return (
        f"ResNet-50, {side} px, batch {batch_size}, bfloat16: {speed:,.0f} images/s\n"
        f"  arithmetic: {gmacs:.1f} GMAC an image, {2e-3 * gmacs * speed:,.1f} TFLOP/s\n"
        f"  traffic, at most: {gigabytes:.2f} GB an image, {1e-3 * gigabytes * speed:,.2f} TB/s\n"
        "  divide by the data sheet's bfloat16 TFLOP/s and memory TB/s: the larger share is the step's limit"
    )


def _wait(logs: dict[str, tf.Tensor]) -> None:
    tf.nest.map_structure(lambda value: value.numpy(), logs)
