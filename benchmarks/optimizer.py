"""LARS's update of ResNet-50's variables beside Keras's SGD with momentum.

python -m benchmarks.optimizer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import app

from benchmarks.contest import Claim, Contest, publish, take_turns
from tf_simclr import models, optimizers

UPDATES = 5  # a turn


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
    shapes = [variable.shape for variable in models.ResNet(50).trainable_variables]
    contest = Contest(
        f"update of ResNet-50's {len(shapes)} variables",
        take_turns(
            {
                "Keras SGD with momentum": updates(tf.keras.optimizers.SGD(1e-3, momentum=0.9), shapes),
                "LARS": updates(optimizers.LARS(1e-3, weight_decay=1e-6), shapes),
            }
        ),
        amount=UPDATES,
        unit="updates",
        claims=[Claim("LARS", "Keras SGD with momentum", 1 / 1.3)],
    )
    publish("optimizer", contest)


if __name__ == "__main__":
    app.run(main)
