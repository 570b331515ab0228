"""LARS's update of ResNet-50's variables beside Keras's SGD with momentum and the traffic of any momentum.

python -m benchmarks.optimizer [--device=cpu]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import app

from benchmarks import device, roofline
from benchmarks.contest import Claim, publish
from tf_simclr import models, optimizers

UPDATES = 5  # a turn
MOVED = 5  # numbers a variable: weight and momentum read and written, gradient read


def updates(optimizer: Any, shapes: list[tf.TensorShape]) -> Callable[[], None]:
    """Updates of fresh variables by the same gradients, in a compiled graph function."""
    variables = [
        tf.Variable(tf.random.stateless_normal(shape, [0, i], stddev=0.1)) for i, shape in enumerate(shapes)
    ]
    gradients = [tf.random.stateless_normal(shape, [1, i], stddev=0.01) for i, shape in enumerate(shapes)]
    if hasattr(optimizer, "exclude_from_weight_decay"):
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if v.shape.rank == 1])
    optimizer.build(variables)

    @tf.function
    def update() -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def turn() -> None:
        for _ in range(UPDATES):
            update()
        variables[-1].numpy()

    return turn


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    place = device.choose()
    shapes = [variable.shape for variable in models.ResNet(50).trainable_variables]
    numbers = sum(shape.num_elements() for shape in shapes)
    contest, rates = roofline.contest(
        f"update of ResNet-50's {len(shapes)} variables",
        {
            "Keras SGD with momentum": updates(tf.keras.optimizers.SGD(1e-3, momentum=0.9), shapes),
            "LARS": updates(optimizers.LARS(1e-3, weight_decay=1e-6), shapes),
        },
        roofline.Work(0, UPDATES * numbers * MOVED * 4),
        roofline.Roofline.of_device(place, "float32"),
        amount=UPDATES,
        unit="updates",
        claims=[Claim("LARS", "Keras SGD with momentum", 1 / 1.3)],
        of_limit=["LARS"],
    )
    publish("optimizer", contest, roofline=rates)
    print(roofline.text(rates))


if __name__ == "__main__":
    app.run(main)
