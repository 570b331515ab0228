"""Learning rate: scaling with the batch size, linear warm-up, cosine decay (Sec. 2.3, App. B.1)."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_simclr.errors import UsageError

_SCALINGS = {
    "linear": lambda base, batch_size: base * batch_size / 256.0,  # Sec. 2.3
    "sqrt": lambda base, batch_size: base * math.sqrt(batch_size),  # App. B.1
    "none": lambda base, batch_size: base,
}


def scaled_learning_rate(base: float, batch_size: int, scaling: str) -> float:
    """Peak learning rate for a batch of `batch_size` images.

    Args:
        base: the rate before scaling (0.3 for linear, 0.075 for sqrt in the paper).
        batch_size: N, images in the global batch.
        scaling: "linear" (base * N / 256), "sqrt" (base * sqrt(N)) or "none".

    Raises:
        UsageError: if `scaling` is none of these.
    """
    if scaling not in _SCALINGS:
        raise UsageError(f"learning_rate_scaling: {scaling!r} is not one of {', '.join(_SCALINGS)}")
    return float(_SCALINGS[scaling](base, batch_size))


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class WarmUpCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then cosine decay to 0 without restarts (Sec. 2.3).

    The rate is 0 at step 0, `learning_rate` at step `warmup_steps`, 0 at `total_steps` and after.

    Args:
        learning_rate: the peak rate.
        total_steps: steps of the whole run, warm-up included.
        warmup_steps: steps of the warm-up; 0 starts at the peak.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step: tf.Tensor | int | float) -> tf.Tensor:
        """Rate (float32 scalar) at `step` (any integer or float scalar)."""
        step = tf.cast(step, tf.float32)
        warm_up = step / max(self.warmup_steps, 1)
        decay_steps = max(self.total_steps - self.warmup_steps, 1)
        progress = tf.clip_by_value((step - self.warmup_steps) / decay_steps, 0.0, 1.0)
        cosine = 0.5 * (1.0 + tf.cos(math.pi * progress))
        return self.learning_rate * tf.where(step < self.warmup_steps, warm_up, cosine)

    def get_config(self) -> dict[str, float | int]:
        """The arguments of the constructor."""
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }
