"""Memory and traffic of a planned pretraining, reckoned from its flags; docs/scaling.md works examples out.

Figures are a replica's. Activations are what the backward pass keeps: the outputs of convolutions (batch
norm needs them) and of ReLUs (convolutions do). What the method adds it reckons itself.
"""

from __future__ import annotations

import dataclasses
import json

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.devices.strategies import check_batch
from tf_simclr.image_size import height_and_width
from tf_simclr.methods import name_of
from tf_simclr.models import BatchNorm
from tf_simclr.replicas.traffic import all_reduce
from tf_simclr.runs import build
from tf_simclr.training.plan import parameters

KEPT = ("Conv2D", "DepthwiseConv2dNative", "Relu", "Relu6", "Elu", "MatMul", "MaxPool")
_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes a replica, but for `parameters`, a number."""

    parameters: int
    weights: int
    optimizer: int
    activations: int
    views: int
    loss: int
    state: int
    exchanged_gradients: int
    exchanged_batch_norm: int
    exchanged_by_method: int

    @property
    def memory(self) -> int:
        """Weights twice, since their gradients are as large."""
        return 2 * self.weights + self.optimizer + self.activations + self.views + self.loss + self.state

    @property
    def exchanged(self) -> int:
        return self.exchanged_gradients + self.exchanged_batch_norm + self.exchanged_by_method


def of(config: Config, replicas: int) -> Sizes:
    """The sizes of pretraining by `config` on `replicas` replicas; allocates the weights only.

    Raises:
        UsageError: the batch does not divide.
    """
    check_batch(config, replicas)
    precision = config.devices.precision
    tf.keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    encoder, head = build.encoder(config), build.projection_head(config)
    head(tf.keras.Input([encoder.output_dim]))
    trained = parameters([*encoder.trainable_variables, *head.trainable_variables])
    images = config.optimization.train_batch_size
    image = tf.TensorShape([1, *height_and_width(config.data.image_size), config.data.channels])
    own = images // replicas
    num_views = config.method.num_views
    chunk = config.method.encoded_views * own // config.memory.micro_batches
    dim = config.head.proj_out_dim if config.head.proj_head_mode != "none" else encoder.output_dim
    norms = [layer for part in (encoder, head) for layer in part.submodules if isinstance(layer, BatchNorm)]
    channels = sum(norm.moving_mean.shape[0] for norm in norms)
    method = config.method.sizes(own, images, dim, _FLOAT * trained, replicas)
    return Sizes(
        parameters=trained,
        weights=_FLOAT * trained,
        optimizer=_FLOAT * trained * (2 if config.optimization.optimizer in ("adam", "lamb") else 1),
        activations=chunk * _kept_bytes_of_one_view(encoder, image),
        views=num_views * own * image.num_elements() * _FLOAT,
        loss=method.loss,
        state=method.state,
        exchanged_gradients=all_reduce(_FLOAT * trained, replicas),
        exchanged_batch_norm=_batch_norm(channels, len(norms), config, replicas),
        exchanged_by_method=method.exchanged,
    )


def to_json(config: Config) -> str:
    """`of` on --devices replicas, as JSON."""
    return json.dumps(dataclasses.asdict(of(config, config.doctor.devices)), indent=2)


def report(config: Config) -> str:
    """`of` as lines to read."""
    replicas = config.doctor.devices
    sizes = of(config, replicas)
    batch = config.optimization.train_batch_size
    lines = [
        ("parameters (encoder and head)", f"{sizes.parameters:,}"),
        ("weights and their gradients", readable(2 * sizes.weights)),
        (f"optimizer ({config.optimization.optimizer})", readable(sizes.optimizer)),
        (f"activations ({config.memory.micro_batches} micro-batches)", readable(sizes.activations)),
        ("augmented views", readable(sizes.views)),
        (f"loss of {name_of(config.method)}", readable(sizes.loss + sizes.state)),
        ("memory of a replica, about", readable(sizes.memory)),
        ("sent by a replica a step", readable(sizes.exchanged)),
        ("  gradients", readable(sizes.exchanged_gradients)),
        ("  batch statistics, both ways", readable(sizes.exchanged_batch_norm)),
        ("  projections", readable(sizes.exchanged_by_method)),
    ]
    heading = (
        f"{build.describe_encoder(config)}, "
        f"{config.data.image_size} px, {config.devices.precision}, batch {batch:,} on {replicas} replicas "
        f"({batch // replicas:,} images each)"
    )
    return "\n".join([heading, *(f"  {name:<32}{value:>12}" for name, value in lines)])


def _kept_bytes_of_one_view(encoder: tf.keras.Model, image: tf.TensorShape) -> int:
    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return encoder(images, training=True)

    graph = forward.get_concrete_function(tf.TensorSpec(image, tf.float32)).graph
    kept = [operation.outputs[0] for operation in graph.get_operations() if operation.type in KEPT]
    return sum((tensor.shape.num_elements() or 0) * tensor.dtype.size for tensor in kept)


def _batch_norm(channels: int, layers: int, config: Config, replicas: int) -> int:
    """Count, mean and squares of every replica forward (twice in micro-batches), two sums backward."""
    if not config.encoder.global_bn:
        return 0
    chunks = config.memory.micro_batches
    forward, backward = _FLOAT * replicas * (2 * channels + layers), _FLOAT * 2 * channels
    passes = chunks * ((2 if chunks > 1 else 1) * forward + backward)
    return all_reduce(passes, replicas)


def readable(count: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
