"""Keras's SGD, with variables whose rate keeps its peak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.optimizers.schedules import WarmUpCosine


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class SGD(tf.keras.optimizers.SGD):
    """Keras's SGD; `keep_rate` takes variables out of the schedule (SimSiam's predictor, Sec. 4.2)."""

    def keep_rate(self, var_list: Sequence[tf.Variable]) -> None:
        """Trains these variables at the peak rate from the first step to the last.

        Keras multiplies a gradient by the rate before it enters the momentum buffer, so a gradient multiplied
        by peak / rate is trained as at the peak; where the rate is 0, at the start of a warm-up, it rests.
        """
        self._kept = {variable.ref() for variable in var_list}

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """As Keras's."""
        if variable.ref() in getattr(self, "_kept", ()):
            gradient *= tf.cast(tf.math.divide_no_nan(self._peak(), self.learning_rate), gradient.dtype)
        super().update_step(gradient, variable)

    def _peak(self) -> tf.Tensor:
        rate = self._learning_rate
        if isinstance(rate, WarmUpCosine):
            return tf.constant(rate.learning_rate, tf.float32)
        return rate(0) if callable(rate) else tf.convert_to_tensor(rate)
