"""A run folder of what was trained in Python: `models.save_run`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.image_size import ImageSize, height_and_width, size_of
from tf_simclr.models import Classifier, Pretraining, ProjectionHead
from tf_simclr.models.compiling import example_image
from tf_simclr.networks import KerasEncoder, ResNet
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.parts import new_parts, variables_by_path

_RESNET = {"depth": "resnet_depth", "width_multiplier": "", "sk_ratio": "", "se_ratio": "", "stem": ""}
_NORM = {"batch_norm_decay": "", "global_bn": ""}
_HEAD = {
    "mode": "proj_head_mode",
    "num_layers": "num_proj_layers",
    "out_dim": "proj_out_dim",
    "hidden_dim": "proj_hidden_dim",
    "batch_norm": "proj_batch_norm",
}
"""Options by the names of the constructors' arguments; empty: the same name."""


def save_run(
    model: Pretraining | Classifier,
    folder: str | os.PathLike[str],
    *,
    encoder: str = "",
    image_size: ImageSize = 0,
    class_names: Sequence[str] = (),
) -> None:
    """Makes a run folder that `linear_eval`, `knn`, `finetune` and `export` take as --checkpoint.

    It holds config.json, data.json and a checkpoint of encoder, head, classifier and the method's state. The
    optimizer is left out: no training goes on from there.

    Args:
        model: compiled; its projection head is a `ProjectionHead`.
        folder: new or empty.
        encoder: what makes an encoder like the model's, MODULE:FUNCTION(key=value, ...) as --encoder has it,
            importable where the commands run; not needed for a `ResNet` and a `KerasEncoder`.
        image_size: of the images; 0: of those that it was trained on.
        class_names: of the classifier.

    Raises:
        UsageError: the folder holds something, or the model cannot be made again from what it would say.
    """
    path = epath.Path(folder)
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"save_run: {path} is not empty; give another folder")
    images = _of_images(model, image_size)
    config = _config(model, encoder).replace(**images)
    parts = _rebuilt(model, config)
    run = RunFolder(path, config.replace(model_dir=str(path)))
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    holder = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts))
    manager = tf.train.CheckpointManager(holder, str(run.checkpoints), None, checkpoint_name="ckpt")
    manager.save(checkpoint_number=int(model.optimizer.iterations))
    run.write_json("data.json", {"num_classes": len(class_names), "class_names": list(class_names)})
    groups = ["data", "encoder", "head", "method" if config.command == "pretrain" else "labels"]
    run.write("config.json", config.to_json(groups))


def _of_images(model: Pretraining | Classifier, image_size: ImageSize) -> dict[str, Any]:
    """Size and channels, as options."""
    size = size_of(*height_and_width(image_size or model.image_size))
    if not size:
        raise UsageError("save_run: image_size is not known before a training; give it")
    channels = model.channels or example_image(model.encoder, size).shape[-1]
    if channels not in (1, 3):
        raise UsageError(
            f"save_run: the model is of images of {channels} channels, the commands read 1 or 3; save "
            "model.encoder, or all by model.save_weights"
        )
    return {"image_size": size, "channels": channels}


def _config(model: Pretraining | Classifier, maker: str) -> Config:
    """What config.json says of the model."""
    if isinstance(model, Classifier):
        config = Config("finetune").replace(ft_proj_selector=model.head_layer)
    else:
        config = Config("pretrain", method=model.method)
    encoder, head = model.encoder, model.projection_head
    if head is not None:
        if type(head) is not ProjectionHead:
            raise UsageError(
                f"save_run: projection_head is a {type(head).__name__}; a run folder tells of "
                "models.ProjectionHead alone"
            )
        config = config.replace(**_options(head, {**_HEAD, **_NORM}))
    if type(encoder) is ResNet:
        return config.replace(**_options(encoder, {**_RESNET, **_NORM}))
    maker = encoder.maker if type(encoder) is KerasEncoder else maker
    if not maker or maker.startswith("__main__"):
        raise UsageError(
            f"save_run: encoder is a {type(encoder).__name__}: name what makes another in other processes, "
            "encoder='MODULE:FUNCTION(key=value)'"
        )
    return config.replace(encoder=maker)


def _options(layer: tf.keras.layers.Layer, names: Mapping[str, str]) -> dict[str, Any]:
    config = layer.get_config()
    return {name or argument: config[argument] for argument, name in names.items()}


def _rebuilt(model: Pretraining | Classifier, config: Config) -> dict[str, Any]:
    """The parts that the commands will make of the configuration, with the model's variables.

    Raises:
        UsageError: they are not the model's.
    """
    classes = model.classifier.num_classes if model.classifier is not None else 0
    parts: dict[str, Any] = new_parts(config, classes)
    if model.projection_head is None:
        del parts["projection_head"]
    own = type(model.encoder) in (ResNet, KerasEncoder)
    ours = parts if own else {**parts, "encoder": parts["encoder"].network}
    theirs = variables_by_path({name: getattr(model, name) for name in parts})
    found = variables_by_path(ours)
    if {name: v.shape for name, v in found.items()} != {name: v.shape for name, v in theirs.items()}:
        raise UsageError(
            f"save_run: encoder={config.encoder.encoder} makes other variables than the model has"
        )
    for name, variable in found.items():
        variable.assign(tf.cast(tf.convert_to_tensor(theirs[name]), variable.dtype))
    shape = [2, *height_and_width(config.data.image_size), config.data.channels]
    images = tf.random.stateless_uniform(shape, [0, 1])
    if not np.allclose(parts["encoder"](images), model.encoder(images), rtol=1e-3, atol=1e-4):
        raise UsageError(
            f"save_run: encoder={config.encoder.encoder} gives another h than the model's encoder"
        )
    if own and (state := getattr(model, "state", None)):
        parts["state"] = tf.train.Checkpoint(**state)
    return parts
