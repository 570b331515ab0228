"""What a pretraining step costs in arithmetic and memory traffic, to state a device's share of its limit.

The model: a step of convolutions is bound by arithmetic (multiply-accumulates, MAC; backward costs twice
forward) or by the traffic of activations, whichever takes longer. A data sheet gives both limits.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping

import tensorflow as tf

from benchmarks.contest import Contest, take_turns
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


def contest(
    name: str, encoder_of: Callable[[], models.ResNet], batch_size: int, side: int, steps: int
) -> Contest:
    """Compiled bfloat16 steps of SimCLR on views that are made already."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    encoder = encoder_of()
    augmentations = augment.Augmentations([augment.ColorDistortion(), augment.GaussianBlur()])
    model = models.SimCLR(encoder, models.ProjectionHead(), augmentations)
    model.compile(optimizers.LARS(0.3, weight_decay=1e-6), jit_compile=True)
    views = tf.cast(tf.random.uniform([batch_size, 2, side, side, 3], 0, 256, tf.int32), tf.uint8)
    batches = tf.data.Dataset.from_tensors({"views": views}).repeat()
    tf.keras.mixed_precision.set_global_policy("float32")
    train, iterator = model.make_train_function(), iter(batches)

    def turn() -> None:
        for _ in range(steps):
            logs = train(iterator)
        tf.nest.map_structure(lambda value: value.numpy(), logs)

    subject = f"train step, {name}, {batch_size} images of {side} px, bfloat16, XLA"
    return Contest(subject, take_turns({"train step": turn}), steps * batch_size, "images", claims=[])


def rates(contest: Contest, one: Cost) -> dict[str, float]:
    """Arithmetic and traffic (of bfloat16) that the median turn did."""
    speed = contest.amount / statistics.median(contest.seconds["train step"])
    gmacs, gigabytes = one.gmacs_of_image(), one.gigabytes_of_image(2)
    return {
        "gmacs_of_image": gmacs,
        "teraflops": 2e-3 * gmacs * speed,
        "gigabytes_of_image": gigabytes,
        "terabytes_a_second": 1e-3 * gigabytes * speed,
    }


def text(found: Mapping[str, float]) -> str:
    return (
        f"  arithmetic: {found['gmacs_of_image']:.3g} GMAC an image, {found['teraflops']:.3g} TFLOP/s\n"
        f"  traffic, at most: {found['gigabytes_of_image']:.3g} GB an image, "
        f"{found['terabytes_a_second']:.3g} TB/s\n"
        "  divide by the data sheet's bfloat16 TFLOP/s and memory TB/s: the larger share is the step's limit"
    )
