"""Optimizers and learning-rate schedules.

`make_optimizer` builds any of them by the name that the `optimizer` flag takes.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.optimizers.lars import LARS
from tf_simclr.optimizers.schedules import WarmUpCosine, scaled_learning_rate
from tf_simclr.optimizers.sgd import SGD

__all__ = ["LARS", "SGD", "WarmUpCosine", "kernels_l2", "make_optimizer", "scaled_learning_rate"]

# Batch norm's variables and biases, by TensorFlow Addons' only means of exclusion: patterns on names.
_LAMB_EXCLUDED = ["gamma", "beta", "bias", "classifier"]  # it knows variables by name only


def make_optimizer(
    name: str,
    schedule: float | tf.keras.optimizers.schedules.LearningRateSchedule,
    *,
    momentum: float,
    weight_decay: float,
) -> tf.keras.optimizers.Optimizer:
    """Builds an optimizer.

    "lars" and "lamb" apply `weight_decay` themselves. "momentum", "nesterov" and "adam" do not: as in
    the authors' code their decay is an l2 loss, so the train step adds `kernels_l2(variables,
    weight_decay)` to its loss. For "lars" the caller then excludes batch norm's variables, biases
    and the classifier by `exclude_from_weight_decay(var_list=...)`. For "lamb" every variable whose
    name contains gamma, beta, bias or classifier is excluded from decay and layer adaptation.

    Args:
        name: "lars", "momentum", "nesterov", "adam" or "lamb" (TensorFlow Addons').
        schedule: a rate or a LearningRateSchedule.
        momentum: momentum; for "adam" and "lamb" their beta_1.
        weight_decay: decay coefficient of "lars" and "lamb".

    Raises:
        UsageError: for an unknown name, and for "lamb" where TensorFlow Addons can't be imported.
    """
    if name == "lars":
        return LARS(schedule, momentum=momentum, weight_decay=weight_decay)
    if name in ("momentum", "nesterov"):
        return SGD(schedule, momentum=momentum, nesterov=name == "nesterov")
    if name == "adam":
        return tf.keras.optimizers.Adam(schedule, beta_1=momentum)
    if name == "lamb":
        return _lamb(schedule, momentum, weight_decay)
    raise UsageError(f"optimizer: {name!r} is not one of lars, momentum, nesterov, adam, lamb")


def _lamb(
    schedule: float | tf.keras.optimizers.schedules.LearningRateSchedule, momentum: float, weight_decay: float
) -> tf.keras.optimizers.Optimizer:
    try:
        from tensorflow_addons.optimizers import LAMB
    except ImportError as error:
        raise UsageError(
            "optimizer: lamb is TensorFlow Addons', which needs Python 3.10 or 3.11; use lars here"
        ) from error
    return LAMB(
        schedule,
        beta_1=momentum,
        weight_decay_rate=weight_decay,
        exclude_from_weight_decay=_LAMB_EXCLUDED,
        exclude_from_layer_adaptation=_LAMB_EXCLUDED,
    )


def kernels_l2(variables: list[tf.Variable], weight_decay: float) -> tf.Tensor:
    """The l2 loss whose gradient is coupled weight decay: weight_decay * sum of |w|^2 / 2.

    Args:
        variables: the kernels to decay, of any float dtype; an empty list gives 0.
        weight_decay: the coefficient.

    Returns:
        A float32 scalar (float64 for float64 variables). Under a strategy divide it by the number
        of replicas, since gradients are summed.
    """
    dtype = tf.float64 if any(v.dtype == tf.float64 for v in variables) else tf.float32
    return weight_decay * tf.add_n(
        [tf.zeros([], dtype), *(tf.nn.l2_loss(tf.cast(v, dtype)) for v in variables)]
    )
