"""ResNet as the authors' code has it: v1.5 strides, fixed padding, selective kernels, squeeze-excitation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.networks.batch_norm import BatchNorm

Layer: TypeAlias = tf.keras.layers.Layer

BLOCKS_PER_GROUP = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
STEMS = ("imagenet", "cifar")
_MIN_SK_CHANNELS = 32  # authors' code
_ONEDNN_BLOCK = 16
"""With fewer input channels the gradient of a strided 1x1 convolution corrupts memory on CPUs
(uxlfoundation/oneDNN#6035): what it would read is sliced out first, at a cost. No strided one has a bias."""


class _Style(NamedTuple):
    """What all blocks of an encoder have in common."""

    sk_ratio: float
    se_ratio: float
    batch_norm_decay: float
    global_bn: bool

    def batch_norm(self, name: str, gamma_initializer: str = "ones") -> BatchNorm:
        return BatchNorm(
            decay=self.batch_norm_decay,
            epsilon=1e-5,
            gamma_initializer=gamma_initializer,
            global_bn=self.global_bn,
            name=name,
        )


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class ResNet(tf.keras.Model):
    """The encoder f: images [B, H, W, C] in [0, 1] to h [B, output_dim], the global average pool (Sec. 2.1).

    H and W are free and may differ from call to call. h is float32 under mixed precision, else of the
    Keras float type. Variables exist from the start and are named `encoder/group2/block1/conv2/kernel`.
    The dtype policy is the global one at construction and no part of the config.

    Args:
        depth: 18 or 34 (basic blocks); 50, 101, 152 or 200 (bottlenecks).
        width_multiplier: of all channels; may be a fraction.
        sk_ratio: above 0: selective kernels in bottlenecks, ResNet-D stem and shortcuts (SimCLRv2: 0.0625).
        se_ratio: above 0: squeeze-excitation at the end of each block.
        stem: "imagenet", or "cifar": a 3x3 convolution of stride 1 and no pooling (App. B.9).
        batch_norm_decay: see `BatchNorm`.
        global_bn: see `BatchNorm`.
        channels: C of the images.

    Raises:
        UsageError: an unknown depth or stem, or a width that leaves no channels.
    """

    def __init__(
        self,
        depth: int = 50,
        width_multiplier: float = 1.0,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        stem: str = "imagenet",
        *,
        batch_norm_decay: float = 0.9,
        global_bn: bool = True,
        channels: int = 3,
        name: str = "encoder",
    ) -> None:
        super().__init__(name=name)
        _check(depth, width_multiplier, stem)
        self._config = {
            "depth": depth,
            "width_multiplier": width_multiplier,
            "sk_ratio": sk_ratio,
            "se_ratio": se_ratio,
            "stem": stem,
            "batch_norm_decay": batch_norm_decay,
            "global_bn": global_bn,
            "channels": channels,
            "name": name,
        }
        self.channels = channels
        self._description = description(depth, width_multiplier, stem)
        style = _Style(sk_ratio, se_ratio, batch_norm_decay, global_bn)
        block_type = _BasicBlock if depth < 50 else _BottleneckBlock
        widths = [int(base * width_multiplier) for base in (64, 128, 256, 512)]
        self.output_dim = widths[-1] * block_type.expansion
        self.groups = [_Stem(widths[0], stem, style, name="stem")]
        for i, (width, num_blocks) in enumerate(zip(widths, BLOCKS_PER_GROUP[depth], strict=True), start=1):
            self.groups.append(
                _Group(block_type, width, 1 if i == 1 else 2, num_blocks, style, name=f"group{i}")
            )
        self(tf.keras.Input([None, None, channels], dtype=self.compute_dtype))  # creates the variables

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = images
        for group in self.groups:
            x = group(x, training=training)
        return tf.reduce_mean(tf.cast(x, self.variable_dtype), axis=[1, 2])

    def freeze(self, last_frozen_group: int) -> None:
        """Freezes the stem (0) and the groups up to `last_frozen_group`; -1 freezes nothing, 4 everything.

        A frozen batch norm runs in inference mode and its statistics don't move. Functions traced before
        the call keep the old state.
        """
        if not -1 <= last_frozen_group < len(self.groups):
            raise UsageError(f"--fine_tune_after_block={last_frozen_group} must be from -1 to 4")
        for i, group in enumerate(self.groups):
            group.trainable = i > last_frozen_group

    def describe(self) -> str:
        return self._description

    def variables_in_creation_order(self) -> list[tuple[str, tf.Variable]]:
        """(path, variable), such as ("group2/block1/shortcut/conv/kernel", ...), in the authors' order.

        Their TF1 names, and the numbers in their TF2 names, count layers in this order: in a block the
        shortcut comes first. A batch norm has gamma, beta, moving_mean, moving_variance.
        """
        return [
            (f"{path}/{variable.name.split('/')[-1].split(':')[0]}", variable)
            for group in self.groups
            for path, layer in _leaves(group, group.name)
            for variable in layer.weights
        ]

    def get_config(self) -> dict[str, Any]:
        return dict(self._config)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ResNet:
        return cls(**config)


def description(depth: int, width_multiplier: float, stem: str) -> str:
    """A ResNet in a few words."""
    return f"ResNet-{depth} x{width_multiplier:g} ({stem} stem)"


class _Composite(Layer):
    """A layer made of `parts`, listed in the order in which the authors' code creates them."""

    parts: list[Layer]


def _leaves(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    if not isinstance(layer, _Composite):
        yield path, layer
        return
    for part in layer.parts:
        yield from _leaves(part, f"{path}/{part.name}")


class _Stem(_Composite):
    """Images to [B, H/4, W/4, width]; the CIFAR stem keeps H and W (App. B.9)."""

    def __init__(self, width: int, stem: str, style: _Style, name: str) -> None:
        super().__init__(name=name)
        if stem == "cifar":
            convolutions = [(width, 3, 1)]
        elif style.sk_ratio > 0:  # ResNet-D
            convolutions = [(width // 2, 3, 2), (width // 2, 3, 1), (width, 3, 1)]
        else:
            convolutions = [(width, 7, 2)]
        self.parts = []
        for i, (channels, size, strides) in enumerate(convolutions, start=1):
            self.parts.append(_Convolution(channels, size, strides, name=f"conv{i}"))
            self.parts.append(style.batch_norm(f"bn{i}"))
        self.pool = None if stem == "cifar" else tf.keras.layers.MaxPooling2D(3, 2, "same", name="pool")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for convolution, batch_norm in zip(self.parts[::2], self.parts[1::2], strict=True):
            x = tf.nn.relu(batch_norm(convolution(x), training=training))
        return x if self.pool is None else self.pool(x)


class _Group(_Composite):
    """Blocks of one width; the first has the stride and a projection shortcut."""

    def __init__(
        self, block_type: type[_Block], width: int, strides: int, num_blocks: int, style: _Style, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.parts = [block_type(width, strides, True, style, name="block1")]
        for i in range(2, num_blocks + 1):
            self.parts.append(block_type(width, 1, False, style, name=f"block{i}"))

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for block in self.parts:
            x = block(x, training=training)
        return x


class _Block(_Composite):
    """relu(residual(x) + shortcut(x)), with width * expansion channels."""

    expansion: int

    def __init__(self, width: int, strides: int, project: bool, style: _Style, name: str) -> None:
        super().__init__(name=name)
        self.shortcut = _Shortcut(width * self.expansion, strides, style) if project else None
        self.residual = self._residual(width, strides, style)
        if style.se_ratio > 0:
            self.residual.append(_SqueezeExcitation(width, style.se_ratio))
        self.parts = [self.shortcut, *self.residual] if project else self.residual

    def _residual(self, width: int, strides: int, style: _Style) -> list[Layer]:
        raise NotImplementedError

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x, training=training)
        for layer in self.residual:
            x = layer(x)  # Keras hands `training` on to the layers that take it
        return tf.nn.relu(x + shortcut)


class _BasicBlock(_Block):
    expansion = 1

    def _residual(self, width: int, strides: int, style: _Style) -> list[Layer]:
        return [
            _Convolution(width, 3, strides, name="conv1"),
            style.batch_norm("bn1"),
            tf.keras.layers.ReLU(name="relu1"),
            _Convolution(width, 3, name="conv2"),
            style.batch_norm("bn2", gamma_initializer="zeros"),
        ]


class _BottleneckBlock(_Block):
    """v1.5: the stride is in the 3x3 convolution."""

    expansion = 4

    def _residual(self, width: int, strides: int, style: _Style) -> list[Layer]:
        if style.sk_ratio > 0:
            middle = [_SelectiveKernel(width, strides, style)]
        else:
            middle = [
                _Convolution(width, 3, strides, name="conv2"),
                style.batch_norm("bn2"),
                tf.keras.layers.ReLU(name="relu2"),
            ]
        return [
            _Convolution(width, 1, name="conv1"),
            style.batch_norm("bn1"),
            tf.keras.layers.ReLU(name="relu1"),
            *middle,
            _Convolution(width * self.expansion, 1, name="conv3"),
            style.batch_norm("bn3", gamma_initializer="zeros"),
        ]


class _Shortcut(_Composite):
    """The projection of a group's first block; ResNet-D pools before it, at stride 1 too (authors' code)."""

    def __init__(self, channels: int, strides: int, style: _Style) -> None:
        super().__init__(name="shortcut")
        self.strides = strides
        self.pools = style.sk_ratio > 0
        self.conv = _Convolution(channels, 1, 1 if self.pools else strides, name="conv")
        self.bn = style.batch_norm("bn")
        self.parts = [self.conv, self.bn]

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if self.pools and self.strides == 1:
            x = tf.nn.avg_pool2d(x, 2, 1, "SAME")
        elif self.pools:
            x = tf.nn.avg_pool2d(_pad(x, 2), 2, self.strides, "VALID")
        return self.bn(self.conv(x), training=training)


class _SelectiveKernel(_Composite):
    """Two 3x3 streams, mixed per image and channel (SimCLRv2; arXiv:1903.06586)."""

    def __init__(self, width: int, strides: int, style: _Style) -> None:
        super().__init__(name="sk")
        self.streams = _Convolution(2 * width, 3, strides, name="streams")
        self.streams_bn = style.batch_norm("streams_bn")
        self.reduce = _Convolution(max(int(width * style.sk_ratio), _MIN_SK_CHANNELS), 1, name="reduce")
        self.reduce_bn = style.batch_norm("reduce_bn")
        self.mix = _Convolution(2 * width, 1, name="mix")
        self.parts = [self.streams, self.streams_bn, self.reduce, self.reduce_bn, self.mix]

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        streams = tf.nn.relu(self.streams_bn(self.streams(x), training=training))  # [B, H, W, 2C]
        first, second = tf.split(streams, 2, axis=-1)
        pooled = tf.reduce_mean(first + second, axis=[1, 2], keepdims=True)  # [B, 1, 1, C]
        reduced = tf.nn.relu(self.reduce_bn(self.reduce(pooled), training=training))
        logits = tf.stack(tf.split(self.mix(reduced), 2, axis=-1))  # [2, B, 1, 1, C]
        weights = tf.nn.softmax(logits, axis=0)
        return weights[0] * first + weights[1] * second


class _SqueezeExcitation(_Composite):
    """Channels rescaled by what the whole image shows (arXiv:1709.01507)."""

    def __init__(self, width: int, se_ratio: float) -> None:
        super().__init__(name="se")
        self.width = width
        self.se_ratio = se_ratio

    def build(self, input_shape: tf.TensorShape) -> None:
        # The authors reduce from the block's inner width, also in bottlenecks.
        reduced = max(1, int(self.width * self.se_ratio))
        self.reduce = _Convolution(reduced, 1, use_bias=True, name="reduce")
        self.expand = _Convolution(input_shape[-1], 1, use_bias=True, name="expand")
        self.parts = [self.reduce, self.expand]
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        pooled = tf.reduce_mean(x, axis=[1, 2], keepdims=True)  # [B, 1, 1, C]
        return x * tf.sigmoid(self.expand(tf.nn.relu(self.reduce(pooled))))


class _Convolution(tf.keras.layers.Conv2D):
    """A convolution whose padding, where it is strided, doesn't depend on the size of the image."""

    def __init__(
        self, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False, name: str = "conv"
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            use_bias=use_bias,
            kernel_initializer=tf.keras.initializers.VarianceScaling(),  # authors' code
            name=name,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        stride, size = self.strides[0], self.kernel_size[0]
        if stride > 1 and size == 1 and inputs.shape[-1] < _ONEDNN_BLOCK:
            return tf.nn.conv2d(inputs[:, ::stride, ::stride], self.kernel, 1, "VALID")
        if stride > 1 and size > 1:  # explicit paddings in the convolution have slow gradients on CPUs
            inputs = _pad(inputs, size)
        return super().call(inputs)


def _pad(images: tf.Tensor, kernel_size: int) -> tf.Tensor:
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    return tf.pad(images, [[0, 0], [before, after], [before, after], [0, 0]])


def _check(depth: int, width_multiplier: float, stem: str) -> None:
    if depth not in BLOCKS_PER_GROUP:
        raise UsageError(f"--resnet_depth={depth} is none of {', '.join(map(str, BLOCKS_PER_GROUP))}")
    if stem not in STEMS:
        raise UsageError(f"--stem={stem} is none of {', '.join(STEMS)}")
    if int(64 * width_multiplier) < 2:
        raise UsageError(f"--width_multiplier={width_multiplier} leaves no channels: give 1/32 or more")
