"""LARS (You et al., arXiv:1708.03888), as SimCLR trains with it (Sec. 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class LARS(tf.keras.optimizers.Optimizer):
    """Momentum with a learning rate a variable, proportional to |w| / |gradient|.

    Weight decay is coupled: it is added to the gradient before the trust ratio. Variables given to
    `exclude_from_weight_decay(var_list=...)`, before the first step, get neither decay nor layer
    adaptation, but plain momentum: for SimCLR batch norm's, biases and the linear classifier.

    Gradients are summed over replicas by Keras, as for its own optimizers.

    Args:
        learning_rate: a float or a LearningRateSchedule.
        momentum: decay of the momentum buffer.
        weight_decay: coupled L2 coefficient.
        nesterov: whether the step looks ahead by one momentum update.
        classic_momentum: True keeps the rate and the trust ratio inside the momentum buffer (the
            authors' default); False applies both to the momentum's output.
        trust_coefficient: eta; 0.001 in the authors' code.
        name: name of the optimizer.
        **kwargs: Keras's own: clipnorm, global_clipnorm, clipvalue, use_ema, jit_compile, ...
    """

    def __init__(
        self,
        learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        classic_momentum: bool = True,
        trust_coefficient: float = 0.001,
        name: str = "LARS",
        **kwargs: Any,
    ) -> None:
        # Keras's own weight_decay would shrink the variables a second time, decoupled.
        super().__init__(name=name, weight_decay=None, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.nesterov = nesterov
        self.classic_momentum = classic_momentum
        self.trust_coefficient = trust_coefficient

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates a momentum buffer of each variable's shape and dtype."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self.momentums = [
            self.add_variable_from_reference(model_variable=variable, variable_name="momentum")
            for variable in var_list
        ]
        self._built = True

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Updates one variable and its momentum buffer in place."""
        gradient = tf.convert_to_tensor(gradient)
        buffer = self.momentums[self._index_dict[self._var_key(variable)]]
        rate = tf.cast(self.learning_rate, variable.dtype)
        momentum = tf.cast(self.momentum, variable.dtype)
        adapt = self._use_weight_decay(variable)
        if adapt and self.coupled_weight_decay:
            gradient = gradient + tf.cast(self.coupled_weight_decay, variable.dtype) * variable
        if self.classic_momentum:
            # One pass over memory; the buffer holds minus the velocity.
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=buffer.handle,
                lr=self._adapted(rate, variable, gradient) if adapt else rate,
                grad=gradient,
                momentum=momentum,
                use_nesterov=self.nesterov,
            )
        else:
            velocity = buffer.assign(momentum * buffer + gradient)
            update = momentum * velocity + gradient if self.nesterov else velocity
            variable.assign_sub((self._adapted(rate, variable, update) if adapt else rate) * update)

    def _adapted(self, rate: tf.Tensor, variable: tf.Variable, update: tf.Tensor) -> tf.Tensor:
        """The rate times trust_coefficient * |w| / |update|; the bare rate where either norm is 0."""
        weight_norm, update_norm = _norm(variable), _norm(update)
        ratio = self.trust_coefficient * weight_norm / update_norm
        ratio = tf.where((weight_norm > 0) & (update_norm > 0), ratio, tf.ones_like(ratio))
        return rate * tf.cast(ratio, rate.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "nesterov": self.nesterov,
            "classic_momentum": self.classic_momentum,
            "trust_coefficient": self.trust_coefficient,
        }


def _norm(tensor: tf.Tensor | tf.Variable) -> tf.Tensor:
    """Euclidean norm, in float32 for the 16-bit types, whose squares overflow."""
    tensor = tf.convert_to_tensor(tensor)
    tensor = tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)
    return tf.sqrt(2.0 * tf.nn.l2_loss(tensor))  # unlike tf.norm it stores no squares
