"""Every flag of the model, the optimizer and the data reaches what it is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.augment import ColorDistortion, GaussianBlur
from tf_simclr.config import Config, Steps
from tf_simclr.config.groups import Data
from tf_simclr.devices import strategies
from tf_simclr.models import BatchNorm
from tf_simclr.runs import build

SMALL = {"image_size": 8, "resnet_depth": 18, "width_multiplier": 0.125, "train_batch_size": 64}
STEPS = Steps(total=90, warmup=7, per_epoch=10, between_checkpoints=10)
Model = Any


def pretraining_model(options: dict[str, Any]) -> Model:
    return build.pretraining(Config("pretrain").replace(**SMALL | options), 10, STEPS)


def of_norms(name: str) -> Callable[[Model], set[Any]]:
    """The values that the batch norms of encoder and head have."""
    return lambda model: {
        getattr(layer, name)
        for part in (model.encoder, model.projection_head)
        for layer in part.submodules
        if isinstance(layer, BatchNorm)
    }


def of_schedule(name: str) -> Callable[[Model], Any]:
    return lambda model: model.optimizer.get_config()["learning_rate"]["config"][name]


@pytest.mark.parametrize(
    ("options", "found", "expected"),
    [
        ({"temperature": 0.7}, lambda model: model.method.temperature, 0.7),
        ({"hidden_norm": False}, lambda model: model.method.hidden_norm, False),
        ({"loss_block_size": 16}, lambda model: model.method.loss_block_size, 16),
        ({}, lambda model: model.method.loss_block_size, 0),
        ({"micro_batches": 4}, lambda model: model.micro_batches, 4),
        ({"seed": 5}, lambda model: model.seed, 5),
        ({}, lambda model: model.classifier.num_classes, 10),
        ({"lineareval_while_pretraining": False}, lambda model: model.classifier, None),
        ({"batch_norm_decay": 0.75}, of_norms("decay"), {0.75}),
        ({"global_bn": False}, of_norms("global_bn"), {False}),
        ({"stem": "imagenet"}, lambda model: model.encoder.get_config()["stem"], "imagenet"),
        ({"sk_ratio": 0.5}, lambda model: model.encoder.get_config()["sk_ratio"], 0.5),
        ({"se_ratio": 0.5}, lambda model: model.encoder.get_config()["se_ratio"], 0.5),
        ({"num_proj_layers": 3}, lambda model: model.projection_head.num_layers, 3),
        ({"proj_out_dim": 24}, lambda model: model.projection_head.out_dim, 24),
        ({"proj_head_mode": "linear"}, lambda model: model.projection_head.mode, "linear"),
        ({"momentum": 0.5}, lambda model: model.optimizer.momentum, 0.5),
        ({"optimizer": "nesterov", "momentum": 0.5}, lambda model: model.optimizer.momentum, 0.5),
        ({"optimizer": "nesterov"}, lambda model: model.optimizer.nesterov, True),
        ({"weight_decay": 0.25}, lambda model: (model.optimizer.coupled_weight_decay, model.l2), (0.25, 0)),
        ({"weight_decay": 0.25, "optimizer": "momentum"}, lambda model: model.l2, 0.25),
        ({}, of_schedule("total_steps"), STEPS.total),
        ({}, of_schedule("warmup_steps"), STEPS.warmup),
        ({"learning_rate": 0.5}, of_schedule("learning_rate"), 0.5 * 64 / 256),
        ({"learning_rate": 0.5, "learning_rate_scaling": "sqrt"}, of_schedule("learning_rate"), 0.5 * 8),
        ({"learning_rate": 0.5, "learning_rate_scaling": "none"}, of_schedule("learning_rate"), 0.5),
    ],
)
def test_flags_reach_the_pretraining_model(
    options: dict[str, Any], found: Callable[[Model], Any], expected: Any
) -> None:
    assert found(pretraining_model(options)) == expected


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, [ColorDistortion, GaussianBlur]),
        ({"use_blur": False}, [ColorDistortion]),
        ({"color_jitter_strength": 0.0}, [GaussianBlur]),
    ],
)
def test_flags_choose_the_augmentations(options: dict[str, Any], kinds: list[type]) -> None:
    layers = build.augmentations(Config("pretrain").replace(**options)).layers
    assert [type(layer) for layer in layers] == kinds


def test_flags_reach_the_colours() -> None:
    asked = {"strength": 0.3, "order": "random", "brightness": "multiplicative"}
    config = Config("pretrain").replace(**{f"color_jitter_{name}": value for name, value in asked.items()})
    layer = build.augmentations(config).layers[0]
    assert {name: getattr(layer, name) for name in asked} == asked


@pytest.mark.parametrize("zero", [True, False])
def test_the_classifier_starts_from_zero_where_asked(zero: bool) -> None:
    config = Config("finetune").replace(**SMALL, optimizer="nesterov", zero_init_logits_layer=zero)
    model = build.compiled(build.classifier(config, 10), config, STEPS)
    assert np.any(model.classifier.dense.kernel.numpy()) != zero


def test_precision_is_the_encoders() -> None:
    config = Config("pretrain").replace(**SMALL, precision="bfloat16")
    strategies.set_up(config)
    model = build.pretraining(config, 10, STEPS)
    assert model.encoder.compute_dtype == "bfloat16"
    assert {variable.dtype for variable in model.encoder.variables} == {tf.float32}


def handed_over(monkeypatch: pytest.MonkeyPatch, maker: str) -> dict[str, Any]:
    """The arguments that `inputs` gives to a maker of batches."""
    given: dict[str, Any] = {}

    def record(source: Any, *sampling: data.Sampling, **options: Any) -> tf.data.Dataset:
        given.update(options, source=source)
        for one in sampling:
            given.update(dataclasses.asdict(one))
        return tf.data.Dataset.range(1)

    monkeypatch.setattr(data, maker, record)
    return given


CROPS = {
    "image_size": 12,
    "train_batch_size": 6,
    "seed": 4,
    "crop_area_min": 0.5,
    "crop_side": 0.75,
    "use_flip": False,
    "shuffle_buffer": 9,
    "one_branch": True,
}
AS_ARGUMENTS = {
    "image_size": 12,
    "batch_size": 6,
    "seed": 4,
    "crop_area_min": 0.5,
    "crop_side": 0.75,
    "flip": False,
    "shuffle_buffer": 9,
    "shared_crop": True,
}


def test_flags_reach_the_batches_of_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    given = handed_over(monkeypatch, "pretraining_batches")
    inputs.pretraining_batches(Config("pretrain").replace(**CROPS), "source", 3)(7, 1, 2)
    assert given == {
        **AS_ARGUMENTS,
        "source": "source",
        "num_uniforms": 3,
        "num_views": 2,
        "with_index": False,
        "start_step": 7,
        "worker": 1,
        "num_workers": 2,
        "report": True,
    }


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 0.5), (0.0, None)])
def test_flags_reach_the_batches_of_labels(
    monkeypatch: pytest.MonkeyPatch, fraction: float, expected: float | None
) -> None:
    asked = {**CROPS, "augment": False, "center_crop_fraction": fraction, "resize_first": True}
    given = handed_over(monkeypatch, "training_batches")
    inputs.training_batches(Config("finetune").replace(**asked), "source", 3)(7)
    view = {"center_crop_fraction": expected, "resize_first": True}
    place = {"start_step": 7, "worker": 0, "num_workers": 1}
    images = {"source": "source", "augment": False, "num_uniforms": 3, "report": True}
    assert given == {**AS_ARGUMENTS, **view, **place, **images}


def test_flags_reach_the_batches_of_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    given = handed_over(monkeypatch, "evaluation_batches")
    asked = {"image_size": 12, "eval_batch_size": 5, "center_crop_fraction": 0.5, "resize_first": True}
    inputs.evaluation_batches(Data(**asked), "source")
    assert given == {
        "source": "source",
        "image_size": 12,
        "batch_size": 5,
        "center_crop_fraction": 0.5,
        "resize_first": True,
        "replace": False,
    }


@pytest.mark.parametrize("maker", ["pretraining_batches", "training_batches"])
def test_a_cached_data_set_is_decoded_once(monkeypatch: pytest.MonkeyPatch, maker: str) -> None:
    given = handed_over(monkeypatch, maker)
    monkeypatch.setattr(data, "cached", lambda *arguments: arguments)
    config = Config("pretrain").replace(image_size=12, cache_dataset=True, cache_dir="here")
    own = [3] if maker == "pretraining_batches" else []
    getattr(inputs, maker)(config, "source", *own)(0)
    assert given["source"] == ("source", 12, "here")
