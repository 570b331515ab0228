"""Models and optimizers from a `Config`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclr import augment
from tf_simclr.augment import Augmentations, ColorDistortion, Crop, GaussianBlur
from tf_simclr.config import Config, Steps, groups
from tf_simclr.devices.strategies import check_batch
from tf_simclr.errors import UsageError
from tf_simclr.models import Classifier, Pretraining, ProjectionHead, ResNet
from tf_simclr.networks import KerasEncoder
from tf_simclr.networks.resnet import description
from tf_simclr.optimizers import WarmUpCosine, make_optimizer, scaled_learning_rate


def encoder(config: Config) -> ResNet | KerasEncoder:
    settings = config.encoder
    if settings.encoder != "resnet":
        return KerasEncoder(settings.encoder, config.data.image_size, config.data.channels)
    return ResNet(
        settings.resnet_depth,
        width_multiplier=settings.width_multiplier,
        sk_ratio=settings.sk_ratio,
        se_ratio=settings.se_ratio,
        stem=config.stem,
        batch_norm_decay=settings.batch_norm_decay,
        global_bn=settings.global_bn,
        channels=config.data.channels,
    )


def describe_encoder(config: Config) -> str:
    """What `encoder` would build, in a few words."""
    settings = config.encoder
    if settings.encoder != "resnet":
        return settings.encoder
    return description(settings.resnet_depth, settings.width_multiplier, config.stem)


def projection_head(config: Config) -> ProjectionHead:
    return ProjectionHead(
        config.head.proj_head_mode,
        num_layers=config.head.num_proj_layers,
        out_dim=config.head.proj_out_dim,
        hidden_dim=config.head.proj_hidden_dim,
        batch_norm=config.head.proj_batch_norm,
        batch_norm_decay=config.encoder.batch_norm_decay,
        global_bn=config.encoder.global_bn,
    )


def augmentations(config: Config, num_views: int = 0) -> Augmentations:
    """What follows the first crop: colour distortion, then blur (App. A); or what --augmentations lists.

    `num_views` are the method's, where none are given.

    Raises:
        UsageError: operations that are not known, or not for images of --channels.
    """
    settings, num_views = config.augmentation, num_views or config.method.num_views
    crop = functools.partial(Crop, area_min=config.views.crop_area_min, flip=config.views.use_flip)
    if settings.augmentations:
        named = augment.operations(settings.augmentations, num_views, settings.one_branch, crop)
        made = Augmentations(per_view=named)
    elif settings.one_branch:
        made = Augmentations(
            per_view=[[crop(), *_of_appendix_a(settings)], *([] for _ in range(num_views - 1))]
        )
    else:
        made = Augmentations(_of_appendix_a(settings))
    made.require_channels(config.data.channels)
    return made


def _of_appendix_a(settings: groups.Augmentation) -> list[Any]:
    layers: list[Any] = []
    if settings.color_jitter_strength:
        layers.append(
            ColorDistortion(
                settings.color_jitter_strength,
                order=settings.color_jitter_order,
                brightness=settings.color_jitter_brightness,
            )
        )
    if settings.use_blur:
        layers.append(GaussianBlur())
    return layers


def pretraining(
    config: Config, num_classes: int, steps: Steps, num_images: int = 0, captions: Any = None
) -> Pretraining:
    """The pretraining model, compiled; fewer than two classes leave the online classifier out."""
    model = Pretraining(
        config.method,
        encoder(config),
        projection_head(config),
        augmentations(config),
        num_classes=num_classes if num_classes > 1 and config.probe.lineareval_while_pretraining else 0,
        seed=config.run.seed,
        l2=_loss_decay(config),
        micro_batches=config.memory.micro_batches,
        total_steps=steps.total,
        num_images=num_images,
        captions=captions,
    )
    return compiled(model, config, steps)


def _loss_decay(config: Config) -> float:
    """Weight decay that goes through the loss: LARS and LAMB have their own."""
    train = config.optimization
    return 0.0 if train.optimizer in ("lars", "lamb") else train.weight_decay


def classifier(config: Config, num_classes: int, kind: Callable[..., Classifier] | None = None) -> Classifier:
    """An encoder with a classifier, not compiled: what is frozen is the caller's to say.

    Raises:
        UsageError: --ft_proj_selector names a layer that the head does not have.
    """
    head = projection_head(config)
    if config.labels.ft_proj_selector > len(head.dense_layers):
        raise UsageError(
            f"--ft_proj_selector={config.labels.ft_proj_selector}: the projection head has "
            f"{len(head.dense_layers)} layers"
        )
    return (kind or Classifier)(
        encoder(config),
        num_classes,
        head,
        head_layer=config.labels.ft_proj_selector,
        zero_init=config.labels.zero_init_logits_layer,
        l2=_loss_decay(config),
        augmentations=augmentations(config, 1) if config.labels.augment == "simclr" else None,
    )


def compiled(model: tf.keras.Model, config: Config, steps: Steps) -> Any:
    """`model`, ready to be trained by the strategy in scope.

    Raises:
        UsageError: the batch does not divide among the strategy's replicas.
    """
    check_batch(config, tf.distribute.get_strategy().num_replicas_in_sync)
    train = config.optimization
    peak = scaled_learning_rate(train.learning_rate, train.train_batch_size, train.learning_rate_scaling)
    schedule = WarmUpCosine(peak, steps.total, steps.warmup)
    optimizer = make_optimizer(
        train.optimizer, schedule, momentum=train.momentum, weight_decay=train.weight_decay
    )
    model.compile(
        optimizer=optimizer,
        image_size=config.data.image_size,
        jit_compile=config.devices.jit_compile and _has_gpu(),
        steps_per_execution=config.devices.steps_per_execution,
    )
    model.watch().skips = train.skip_nonfinite_steps > 0
    if hasattr(optimizer, "build"):  # TensorFlow Addons' LAMB makes its variables at the first step
        optimizer.build(model.trainable_variables)
    return model


def _has_gpu() -> bool:
    """Where compiling the step must be asked for and pays: TPUs do it anyway, CPUs get slower by it."""
    return bool(tf.config.list_logical_devices("GPU"))
