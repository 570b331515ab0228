"""One float32 train step on the device beside the CPU's: how far they are apart.

    python -m benchmarks.agreement [--device=gpu]

ResNet-18 (CIFAR stem, width 0.25), SimCLR, LARS, on the same views from the same weights; products in full
float32, not TF32. Relative differences are norms over all loss terms, gradients and weights. `doctor
--parity` compares replicas in float64, where everything has to agree; here roundings differ.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import device
from benchmarks.contest import machine
from tf_simclr import models
from tf_simclr.checks import parity

IMAGES = flags.DEFINE_integer("images", 64, "of the batch", lower_bound=2)
SIDE = 32
TOLERANCE = {"start": 0.0, "loss": 1e-4, "gradients": 1e-2, "weights": 1e-2}  # a mistake is off by about 1
Figures = dict[str, np.ndarray]


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    place = device.choose()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    print(f"one float32 step against that of the CPU; {', '.join(machine()['gpus']) or 'no GPU'}")
    cpu = step_on("CPU", jit_compile=False)
    kept = True
    for jit_compile in (False, True):
        found = differences(cpu, step_on(place, jit_compile, cpu["start"]))
        cells = ", ".join(f"{kind} {value:.1e}" for kind, value in found.items())
        print(f"  {place}{', XLA' if jit_compile else ''}: {cells}")
        kept &= all(value <= TOLERANCE[kind] for kind, value in found.items())
    print("agreement holds" if kept else f"agreement FALLS SHORT of {TOLERANCE}")
    sys.exit(0 if kept else 1)


def step_on(place: str, jit_compile: bool, start: np.ndarray | None = None) -> Figures:
    """Loss terms, gradients and weights of one step from the weights `start`, each as one vector."""
    with tf.device(f"{place}:0"):
        model = parity.model(models.ResNet(18, 0.25, stem="cifar"))
        optimizer = parity.Recorder(0.1, weight_decay=1e-4)
        model.compile(optimizer, jit_compile=jit_compile)
        optimizer.build(model.trainable_variables)
        _assign(model.trainable_variables, start)
        start = _joined(model.trainable_variables)
        rng = np.random.default_rng(1)
        views = rng.uniform(size=[IMAGES.value, 2, SIDE, SIDE, 3]).astype(np.float32)
        batch = {"views": tf.constant(views), "label": tf.zeros([IMAGES.value], tf.int64)}
        logs = model.make_train_function()(iter(tf.data.Dataset.from_tensors(batch)))
    return {
        "start": start,
        "loss": np.array([float(value) for value in logs.values()]),
        "gradients": _joined(optimizer.gradients),
        "weights": _joined(model.trainable_variables),
    }


def differences(one: Figures, other: Figures) -> dict[str, float]:
    return {
        kind: float(np.linalg.norm(other[kind] - value) / np.linalg.norm(value))
        for kind, value in one.items()
    }


def _assign(variables: list[tf.Variable], values: np.ndarray | None) -> None:
    """Initial values are drawn otherwise on another device."""
    if values is not None:
        ends = np.cumsum([variable.shape.num_elements() for variable in variables])
        for variable, part in zip(variables, np.split(values, ends[:-1]), strict=True):
            variable.assign(np.reshape(part, variable.shape))


def _joined(tensors: list[tf.Tensor]) -> np.ndarray:
    return np.concatenate([np.ravel(tensor.numpy()) for tensor in tensors])


if __name__ == "__main__":
    app.run(main)
