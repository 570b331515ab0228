"""The projection head g and the linear classifier, both on the representation h."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.networks.batch_norm import BatchNorm

HEAD_MODES = ("nonlinear", "linear", "none")
BATCH_NORMS = ("all", "all_plain", "hidden", "none")


def _kernel_initializer() -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.RandomNormal(stddev=0.01)  # authors' code, heads and classifier


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class DenseNorm(tf.keras.layers.Layer):
    """A dense layer, batch norm in place of its bias, and ReLU: one layer of the projection head.

    [B, D] to [B, units]; `units=None` keeps the width D. The last layer of a head has neither the offset of
    the batch norm nor the ReLU (authors' code). Where `batch_norm` has none for a layer, it has a bias.
    """

    def __init__(
        self,
        units: int | None,
        last: bool,
        batch_norm_decay: float,
        global_bn: bool,
        batch_norm: str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.last = last
        self.batch_norm = batch_norm
        self.batch_norm_decay = batch_norm_decay
        self.global_bn = global_bn

    def build(self, input_shape: tf.TensorShape) -> None:
        normalized = self.batch_norm.startswith("all") or (self.batch_norm == "hidden" and not self.last)
        self.dense = tf.keras.layers.Dense(
            self.units or input_shape[-1],
            use_bias=not normalized,
            kernel_initializer=_kernel_initializer(),
            dtype=self.dtype_policy,  # not the global policy of the day when this is built
            trainable=self.trainable,  # a head frozen before it is built stays frozen
            name="dense",
        )
        self.bn = self._norm() if normalized else None
        super().build(input_shape)

    def _norm(self) -> BatchNorm:
        return BatchNorm(
            decay=self.batch_norm_decay,
            center=not self.last,
            scale=not (self.last and self.batch_norm == "all_plain"),
            global_bn=self.global_bn,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="bn",
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = self.dense(inputs)
        if self.bn is not None:
            outputs = self.bn(outputs, training=training)
        return outputs if self.last else tf.nn.relu(outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "last": self.last,
            "batch_norm_decay": self.batch_norm_decay,
            "global_bn": self.global_bn,
            "batch_norm": self.batch_norm,
        }


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class ProjectionHead(tf.keras.layers.Layer):
    """g of Sec. 2.1: h [B, D] to z [B, out_dim], float32 (float64 where that is the layer's dtype).

    `dense_layers` are its layers in order, named layer1, layer2, ...

    Args:
        mode: "nonlinear"; "linear": one layer; "none": z is h (Fig. 8).
        num_layers: of the nonlinear head: 2 in the paper, 3 in SimCLRv2.
        out_dim: width of z (Fig. 8: it hardly matters).
        batch_norm_decay: see `BatchNorm`.
        global_bn: see `BatchNorm`.
        hidden_dim: width of the hidden layers; 0: that of h.
        batch_norm: "all": after every layer, the last one without offset (authors' code); "all_plain": the
            last one without offset and factor (SimSiam); "hidden": none after the last (BYOL); "none" (MoCo).

    Raises:
        UsageError: an unknown mode or batch norm, or no layer at all.
    """

    def __init__(
        self,
        mode: str = "nonlinear",
        num_layers: int = 2,
        out_dim: int = 128,
        batch_norm_decay: float = 0.9,
        global_bn: bool = True,
        hidden_dim: int = 0,
        batch_norm: str = "all",
        *,
        name: str = "projection_head",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        if mode not in HEAD_MODES:
            raise UsageError(f"--proj_head_mode={mode} is none of {', '.join(HEAD_MODES)}")
        if num_layers < 1:
            raise UsageError(
                f"--num_proj_layers={num_layers} must be at least 1; --proj_head_mode=none has none"
            )
        if batch_norm not in BATCH_NORMS:
            raise UsageError(f"--proj_batch_norm={batch_norm} is none of {', '.join(BATCH_NORMS)}")
        self.mode = mode
        self.num_layers = num_layers
        self.out_dim = out_dim
        self.batch_norm_decay = batch_norm_decay
        self.global_bn = global_bn
        self.hidden_dim = hidden_dim
        self.batch_norm = batch_norm
        # The authors' TF2 'linear' returns None; this is what their code means: one last layer.
        hidden = {"nonlinear": num_layers - 1, "linear": 0}
        widths = [] if mode == "none" else [hidden_dim or None] * hidden[mode] + [out_dim]
        self.dense_layers = [
            DenseNorm(width, i == len(widths), batch_norm_decay, global_bn, batch_norm, name=f"layer{i}")
            for i, width in enumerate(widths, start=1)
        ]

    def call(
        self, h: tf.Tensor, training: bool = False, every_layer: bool = False
    ) -> tf.Tensor | list[tf.Tensor]:
        outputs = []
        for layer in self.dense_layers:
            h = layer(h, training=training)
            outputs.append(tf.cast(h, self.variable_dtype))
        if every_layer:
            return outputs
        return outputs[-1] if outputs else tf.cast(h, self.variable_dtype)

    def layer_outputs(self, h: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """[h, first layer's output, ..., z]: what `ft_proj_selector` chooses from (SimCLRv2)."""
        return [h, *self(h, training=training, every_layer=True)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mode": self.mode,
            "num_layers": self.num_layers,
            "out_dim": self.out_dim,
            "batch_norm_decay": self.batch_norm_decay,
            "global_bn": self.global_bn,
            "hidden_dim": self.hidden_dim,
            "batch_norm": self.batch_norm,
        }


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class LinearClassifier(tf.keras.layers.Layer):
    """h [B, D] to logits [B, num_classes], computed in float32 (float64 where that is the layer's dtype).

    Args:
        num_classes: width of the logits.
        zero_init: start from zeros rather than N(0, 0.01) (App. B.5; authors' README).

    Raises:
        UsageError: fewer than one class.
    """

    def __init__(
        self, num_classes: int, zero_init: bool = False, name: str = "classifier", **kwargs: Any
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        if num_classes < 1:
            raise UsageError(
                f"a classifier needs at least one class, not {num_classes}: is the data labelled?"
            )
        self.num_classes = num_classes
        self.zero_init = zero_init
        self.dense = tf.keras.layers.Dense(
            num_classes,
            kernel_initializer="zeros" if zero_init else _kernel_initializer(),
            dtype=self.variable_dtype,
            name="dense",
        )

    def call(self, h: tf.Tensor) -> tf.Tensor:
        return self.dense(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "zero_init": self.zero_init}
