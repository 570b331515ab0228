"""Batch normalisation over the global batch (SimCLR Sec. 2.2)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.replicas.gather import gather_replicas


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class BatchNorm(tf.keras.layers.Layer):
    """Normalises every channel by the statistics of the global batch (Sec. 2.2).

    Takes [..., C] of any float dtype and returns the same shape and dtype; parameters and statistics are
    float32 under mixed precision, else of the layer's dtype. With `trainable = False` the layer runs in
    inference mode and its statistics don't move. The moving variance is the unbiased one, n / (n - 1) with
    n of the global batch, as the fused kernel keeps it.

    Args:
        decay: share of the old moving statistics kept at a step (authors' code: 0.9).
        epsilon: added to the variance (authors' code: 1e-5).
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        gamma_initializer: Keras initializer of gamma.
        global_bn: False leaves every replica with the statistics of its own part of the batch.
    """

    def __init__(
        self,
        decay: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        gamma_initializer: Any = "ones",
        *,
        global_bn: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.decay = decay
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = tf.keras.initializers.get(gamma_initializer)
        self.global_bn = global_bn

    def build(self, input_shape: tf.TensorShape) -> None:
        channels = input_shape[-1]
        self.gamma = self._parameter("gamma", channels, self.gamma_initializer) if self.scale else None
        self.beta = self._parameter("beta", channels, "zeros") if self.center else None
        self.moving_mean = self._statistic("moving_mean", channels, "zeros")
        self.moving_variance = self._statistic("moving_variance", channels, "ones")
        super().build(input_shape)

    def _parameter(self, name: str, channels: int, initializer: Any) -> tf.Variable:
        return self.add_weight(name, [channels], initializer=initializer, experimental_autocast=False)

    def _statistic(self, name: str, channels: int, initializer: str) -> tf.Variable:
        return self.add_weight(
            name,
            [channels],
            initializer=initializer,
            trainable=False,
            experimental_autocast=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        gamma = tf.ones_like(mean) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros_like(mean) if self.beta is None else tf.convert_to_tensor(self.beta)
        if not (training and self.trainable):
            return _normalize(inputs, gamma, beta, mean, variance, epsilon=self.epsilon)

        context = tf.distribute.get_replica_context() if self.global_bn else None
        synchronized = context is not None and context.num_replicas_in_sync > 1
        if _has_fused_kernel(inputs) and not synchronized:
            outputs, *statistics = _fused(inputs, gamma, beta, self.epsilon)
        else:
            outputs, *statistics = _unfused(
                inputs, gamma, beta, self.epsilon, context if synchronized else None
            )
        self._move_statistics(*statistics)
        return outputs

    def _move_statistics(self, mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor) -> None:
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = self.decay * moving + (1.0 - self.decay) * batch
            moving.assign(tf.where(count > 0, moved, moving))  # an empty batch has no statistics

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "decay": self.decay,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": tf.keras.initializers.serialize(self.gamma_initializer),
            "global_bn": self.global_bn,
        }


def _has_fused_kernel(inputs: tf.Tensor) -> bool:
    return inputs.shape.rank == 4 and inputs.dtype != tf.float64


def _normalize(
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    epsilon: float,
) -> tf.Tensor:
    """gamma * (inputs - mean) / sqrt(variance + epsilon) + beta, by given statistics [C]."""
    if _has_fused_kernel(inputs):
        # The raw op, since tf.nn's wrapper raises epsilon to 1.001e-5.
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=epsilon,
            is_training=False,
        ).y
    centred = tf.cast(inputs, mean.dtype) - mean
    return tf.cast(centred * (gamma * tf.math.rsqrt(variance + epsilon)) + beta, inputs.dtype)


def _fused(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Outputs, mean, unbiased variance and count of this replica's batch, by TensorFlow's fused kernel."""
    results = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    return results.y, results.batch_mean, results.batch_variance, _count(inputs)


def _unfused(
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    context: tf.distribute.ReplicaContext | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `_fused`, for any rank and dtype, over all replicas where a context is given.

    The gradient is written out: it keeps nothing but the inputs, and crosses replicas once, with the two
    sums that it needs. It is the gradient of the sum of all replicas' losses, as `all_reduce`'s own is.
    """
    axes = list(range(inputs.shape.rank - 1))

    @tf.custom_gradient
    def normalize(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[Any, Any]:
        mean, variance, count = _moments(tf.cast(inputs, gamma.dtype), axes, context)
        outputs = _normalize(inputs, gamma, beta, mean, variance, epsilon=epsilon)
        unbiased = variance * (count / tf.maximum(count - 1, 1))

        def gradient(d_outputs: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            inverse = tf.math.rsqrt(variance + epsilon)  # [C]
            normalized = (tf.cast(inputs, gamma.dtype) - mean) * inverse  # [..., C]
            d_normalized = tf.cast(d_outputs, gamma.dtype)
            d_beta = tf.reduce_sum(d_normalized, axes)
            d_gamma = tf.reduce_sum(d_normalized * normalized, axes)
            mean_beta, mean_gamma = tf.unstack(
                _sum_over_replicas(tf.stack([d_beta, d_gamma]), context) / count
            )
            d_inputs = gamma * inverse * (d_normalized - mean_beta - normalized * mean_gamma)
            return tf.cast(d_inputs, inputs.dtype), d_gamma, d_beta

        return (outputs, mean, unbiased, count), gradient

    return normalize(inputs, gamma, beta)


def _moments(
    inputs: tf.Tensor, axes: list[int], context: tf.distribute.ReplicaContext | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean [C], population variance [C] and count [] over the replicas of `context`.

    A replica sums squares about its own mean, in two passes. Every replica's count, mean and squares then
    reach all in one all-reduce, and are merged by Chan et al.'s formula. Sums of x and x^2 would be fewer
    numbers to send, but need float64, which TPUs lack, where the mean is large beside the deviation.
    """
    count = _count(inputs)
    mean = tf.reduce_sum(inputs, axes) / tf.maximum(count, 1)
    squares = tf.reduce_sum(tf.math.squared_difference(inputs, mean), axes)
    if context is None:
        return mean, squares / tf.maximum(count, 1), count
    channels = inputs.shape[-1]
    packed = gather_replicas(tf.concat([count[tf.newaxis], mean, squares], axis=0)[tf.newaxis])
    counts, means, squares = tf.split(packed, [1, channels, channels], axis=1)  # of every replica: [R, ...]
    total = tf.reduce_sum(counts)
    shares = counts / tf.maximum(total, 1)
    mean = tf.reduce_sum(shares * means, axis=0)
    mean += tf.reduce_sum(shares * (means - mean), axis=0)  # what rounding took from a large mean
    squares = tf.reduce_sum(squares + counts * tf.math.squared_difference(means, mean), axis=0)
    return mean, squares / tf.maximum(total, 1), total


def _sum_over_replicas(value: tf.Tensor, context: tf.distribute.ReplicaContext | None) -> tf.Tensor:
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _count(inputs: tf.Tensor) -> tf.Tensor:
    """How many values a channel has: a scalar, float64 for float64 inputs, else float32."""
    dtype = tf.float64 if inputs.dtype == tf.float64 else tf.float32
    return tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), dtype)
