"""What a pretraining step costs in arithmetic and memory traffic, and how near to its limit it runs.

The model: a step of convolutions is bound by arithmetic (multiply-accumulates, MAC; backward costs twice
forward) or by the traffic of activations, whichever takes longer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from benchmarks import roofline
from benchmarks.contest import Claim, Contest
from tf_simclr import augment, models, optimizers

PASSES = 3  # forward once, backward by inputs and by weights
VIEWS = 2
TRAFFIC = {"Conv2D", "FusedBatchNormV3", "Relu", "AddV2", "MaxPool"}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one view, forward: `macs`, `elements` that operations move, `fused`: those of convolutions alone."""

    macs: float
    elements: float
    fused: float = 0.0

    def gmacs_of_image(self) -> float:
        """10^9 MAC of an image in pretraining: two views, forward and backward."""
        return VIEWS * PASSES * self.macs / 1e9

    def gigabytes_of_image(self, bytes_an_element: int) -> float:
        """10^9 bytes that an image moves, if nothing stays in a cache."""
        return VIEWS * PASSES * self.elements * bytes_an_element / 1e9

    def work(self, images: int, bytes_an_element: int) -> roofline.Work:
        """Least work of pretraining on some images: all but the convolutions fused into them."""
        passes = VIEWS * PASSES * images
        return roofline.Work(2 * passes * self.macs, passes * self.fused * bytes_an_element)


@dataclasses.dataclass(frozen=True)
class Case:
    """An encoder's step: its name, the batch, the views' side in pixels, steps a turn."""

    name: str
    encoder: Callable[[], models.ResNet]
    batch_size: int
    side: int
    steps: int


CASES = [
    Case("ResNet-18, CIFAR stem", lambda: models.ResNet(18, stem="cifar"), 1024, 32, 20),
    Case("ResNet-50", lambda: models.ResNet(50), 256, 224, 10),
]
TINY = [Case("tiny", lambda: models.ResNet(18, 0.0625, stem="cifar"), 4, 8, 2)]


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
    convolutions = [op for op in moved if op.type == "Conv2D"]
    return Cost(flops / 2, _traffic(moved), _traffic(convolutions))


def _traffic(operations: list[tf.Operation]) -> int:
    return sum(_elements(tensor) for op in operations for tensor in _activations(op))


def _activations(op: tf.Operation) -> list[tf.Tensor]:
    """What an operation reads and writes of one view; weights are read once for the whole batch."""
    inputs = op.inputs[:1] if op.type == "Conv2D" else op.inputs
    return [tensor for tensor in [*inputs, op.outputs[0]] if tensor.shape.rank == 4]


def _elements(tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements()


def contest(case: Case, limits: roofline.Roofline) -> tuple[Contest, dict[str, Any]]:
    """Steps of SimCLR in bfloat16 on views that are ready, with XLA and without, beside their limit."""
    turns = {"train step": steps_of(case, False), "train step, XLA": steps_of(case, True)}
    found = cost(case.encoder(), case.side)
    return roofline.contest(
        f"train step, {case.name}, {case.batch_size} images of {case.side} px, bfloat16",
        turns,
        found.work(case.steps * case.batch_size, 2),
        limits,
        amount=case.steps * case.batch_size,
        unit="images",
        claims=[Claim("train step, XLA", "train step")],
        of_limit=list(turns),
    )


def steps_of(case: Case, jit_compile: bool) -> Callable[[], None]:
    """A turn of a bfloat16 model's steps on one batch; the host waits for the last one alone."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    augmentations = augment.Augmentations([augment.ColorDistortion(), augment.GaussianBlur()])
    model = models.SimCLR(case.encoder(), models.ProjectionHead(), augmentations)
    model.compile(optimizers.LARS(0.3, weight_decay=1e-6), jit_compile=jit_compile)
    tf.keras.mixed_precision.set_global_policy("float32")
    shape = [case.batch_size, 2, case.side, case.side, 3]
    views = tf.cast(tf.random.uniform(shape, 0, 256, tf.int32), tf.uint8)
    train, iterator = (
        model.make_train_function(),
        iter(tf.data.Dataset.from_tensors({"views": views}).repeat()),
    )

    def turn() -> None:
        for _ in range(case.steps):
            logs = train(iterator)
        tf.nest.map_structure(lambda value: value.numpy(), logs)

    return turn
