"""Whether n replicas train as one does: the real train step, in float64, on the same global batches.

float32 would differ within a few steps by rounding alone; in float64 what remains above 1e-6 is a mistake,
such as negatives of the own replica only, batch statistics of the own replica, or a gradient that counts
replicas twice. The views come ready made: how augmentations draw does not depend on replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import digits
from tf_simclr.devices.distribution import distributed_batches
from tf_simclr.errors import UsageError
from tf_simclr.methods import Method
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.models import BatchNorm, Pretraining, ProjectionHead
from tf_simclr.optimizers import LARS

STEPS, IMAGES, SIDE, CLASSES = 3, 16, 8, 5
TOLERANCE = 1e-6
ROUNDING = 1e-14  # the norm that float64 leaves of an exact zero
Record = dict[str, np.ndarray]


def virtual_devices(count: int) -> list[str]:
    """`count` CPU devices out of one; before TensorFlow has used any.

    Raises:
        UsageError: too late, or a count that does not divide the batch.
    """
    if IMAGES % count:
        raise UsageError(f"--devices={count}: parity trains on {IMAGES} images; give 1, 2, 4, 8 or 16")
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise UsageError(f"--devices={count}: TensorFlow has its devices already; start anew") from error
    return [f"CPU:{i}" for i in range(count)]


def train(strategy: tf.distribute.Strategy, make: Callable[[], Pretraining] | None = None) -> Record:
    """Loss, gradients, weights and batch norm's statistics of every step, by name.

    Every worker of a strategy must call it.

    Args:
        strategy: of the replicas.
        make: builds the model; None takes `model`.
    """
    tf.keras.backend.set_floatx("float64")
    with strategy.scope():
        trained = (make or model)()
        optimizer = Recorder(0.5, weight_decay=1e-2, trust_coefficient=0.1)
        trained.compile(optimizer=optimizer)
        optimizer.build(trained.trainable_variables)
    recording = _Recording(optimizer)
    trained.fit(_batches(strategy, trained.method), steps_per_epoch=STEPS, callbacks=[recording], verbose=0)
    return recording.values


def largest_differences(one: Record, many: Record) -> dict[str, tuple[float, str]]:
    """For loss, gradients, weights and statistics: the largest relative difference and its tensor.

    A tensor's is the norm of the difference over the norm. Where the norm is rounding alone, as of the mean
    behind a batch norm without offset, so is the difference: then it is small too.
    """
    found: dict[str, tuple[float, str]] = {}
    for name, value in one.items():
        size = float(np.linalg.norm(np.ravel(value)))
        distance = float(np.linalg.norm(np.ravel(many[name] - value))) / max(size, ROUNDING / TOLERANCE)
        kind = name.split("/")[0]
        found[kind] = max(found.get(kind, (0.0, name)), (np.nan_to_num(distance, nan=np.inf), name))
    return found


def report(differences: dict[str, tuple[float, str]]) -> str:
    return "\n".join(f"  {kind:<11} {value:9.2e}  {name}" for kind, (value, name) in differences.items())


def holds(differences: dict[str, tuple[float, str]]) -> bool:
    return all(value <= TOLERANCE for value, _ in differences.values())


def model(encoder: tf.keras.Model | None = None, method: Method | None = None) -> Pretraining:
    """A small model with an online classifier, always of the same initial weights; by SimCLR if not said."""
    method = method or SimCLR(temperature=0.2)
    tf.keras.utils.set_random_seed(0)
    return Pretraining(
        method,
        encoder or small_encoder(),
        ProjectionHead(out_dim=6),
        num_classes=CLASSES,
        total_steps=STEPS,
        num_images=STEPS * IMAGES,
        captions=captions_of(method),
    )


def captions_of(method: Method) -> Any:
    """Those of as many digits as there are images, for a method that needs some: their classes' names."""
    if not method.needs_captions:
        return None
    return method.read_captions(digits.open_digits(f"train[:{STEPS * IMAGES}]"))


def small_encoder(global_bn: bool = True) -> tf.keras.Model:
    """Two convolutions with batch norm: images [b, SIDE, SIDE, 3] to h [b, 8]."""
    layers: list[Any] = [tf.keras.Input([SIDE, SIDE, 3])]
    for i, width in enumerate((4, 8), start=1):
        layers += [
            tf.keras.layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"conv{i}"),
            BatchNorm(global_bn=global_bn, name=f"bn{i}"),
            tf.keras.layers.ReLU(name=f"relu{i}"),
        ]
    pool = tf.keras.layers.GlobalAveragePooling2D(name="pool")
    return tf.keras.Sequential([*layers, pool], name="encoder")


class Recorder(LARS):
    """LARS that keeps the gradient it was given, summed over replicas."""

    def build(self, var_list: Iterable[tf.Variable]) -> None:
        super().build(list(var_list))
        if not hasattr(self, "gradients"):
            self.gradients = [self.add_variable_from_reference(variable, "gradient") for variable in var_list]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        self.gradients[self._index_dict[self._var_key(variable)]].assign(gradient)
        super().update_step(gradient, variable)


class _Recording(tf.keras.callbacks.Callback):
    def __init__(self, optimizer: Recorder) -> None:
        super().__init__()
        self._optimizer = optimizer
        self.values: Record = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        step = f"step {batch + 1}"
        for name, value in (logs or {}).items():
            self.values[f"loss/{step}/{name}"] = np.asarray(value)
        trained = self.model.trainable_variables
        for i, (variable, gradient) in enumerate(zip(trained, self._optimizer.gradients, strict=True)):
            self.values[f"gradients/{step}/{i} {variable.name}"] = gradient.numpy()
            self.values[f"weights/{step}/{i} {variable.name}"] = variable.numpy()
        for part in self.model.method.trained(self.model):
            for i, variable in enumerate(part.non_trainable_variables):
                name = f"statistics/{step}/{part.name} {i} {variable.name}"
                self.values[name] = variable.numpy()
        for name, state in (self.model.state or {}).items():
            for i, variable in enumerate(state.variables):
                self.values[f"state/{step}/{name} {i} {variable.name}"] = variable.numpy()


def _batches(strategy: tf.distribute.Strategy, method: Method) -> Any:
    """Random images, another batch a step, each replica with its slice; an image's views are alike."""
    rng = np.random.default_rng(0)
    views = rng.uniform(size=[STEPS, IMAGES, method.num_views, SIDE, SIDE, 3])
    views[:, :, 1:] = 0.7 * views[:, :, :1] + 0.3 * views[:, :, 1:]
    labels = rng.integers(0, CLASSES, [STEPS, IMAGES])
    labels[:, : IMAGES // 4] = -1  # without a label, and not equally many on each replica

    def batches_from(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        own = slice(worker * IMAGES // num_workers, (worker + 1) * IMAGES // num_workers)
        parts = {"views": views[step:, own], "label": labels[step:, own]}
        if method.needs_index:
            parts["index"] = np.arange(STEPS * IMAGES).reshape([STEPS, IMAGES])[step:, own]
        return tf.data.Dataset.from_tensor_slices(parts)

    return distributed_batches(strategy, batches_from, 0, IMAGES)
