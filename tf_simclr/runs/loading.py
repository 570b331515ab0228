"""Reopens a run from its folder alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.config import Config, stored
from tf_simclr.config.groups import Data
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.methods.state import Average
from tf_simclr.models import Classifier, LinearClassifier, Pretraining, ProjectionHead
from tf_simclr.networks import Encoder
from tf_simclr.runs import checkpoints, prefixes
from tf_simclr.runs import texts as texts_lib
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.parts import new_parts


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A run's trained parts, in float32 unless another precision policy is set.

    `settings` is the content of config.json. `projection_head` and `classifier` are None where the
    checkpoint has none. The classifier reads the output of head layer `head_layer`; 0 is h. `top1` is None
    at a step that was not measured. `momentum` says that the parts are a method's moving averages. `texts` is
    what a run by CLIP compares images with.
    """

    config: Config
    settings: Mapping[str, Any]
    step: int
    encoder: Encoder
    projection_head: ProjectionHead | None
    classifier: LinearClassifier | None
    head_layer: int
    class_names: tuple[str, ...]
    top1: float | None
    git_commit: str | None
    momentum: bool = False
    texts: texts_lib.Texts | None = None

    def logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images [b, H, W, 3] in [0, 1] to the classifier's logits [b, C]."""
        if self.classifier is None:
            raise UsageError("the run has no classifier; run linear_eval or finetune on it first")
        h = self.encoder(images, training=training)
        if self.head_layer and self.projection_head is not None:
            h = self.projection_head.layer_outputs(h, training=training)[self.head_layer]
        return self.classifier(h)

    def require_classifier(self) -> LinearClassifier:
        """The classifier; UsageError where there is none."""
        if self.classifier is None:
            raise UsageError(
                "the run of --checkpoint has no classifier; run linear_eval or finetune on it first"
            )
        return self.classifier

    def require_texts(self) -> tuple[texts_lib.Texts, ProjectionHead]:
        """The texts' side and the images' projection; UsageError where the run is not of CLIP."""
        if self.texts is None or self.projection_head is None:
            raise UsageError(
                "the run of --checkpoint keeps no words (vocabulary.txt); give one of pretrain --method=clip"
            )
        return self.texts, self.projection_head

    def require_classes(self, source: Source) -> None:
        """Refuses data with other classes than the classifier's: their numbers would mean something else."""
        known = self.require_classifier().num_classes
        if source.num_classes != known:
            raise UsageError(
                f"--dataset={source.name} has {source.num_classes} classes, the classifier of --checkpoint "
                f"{known}"
            )
        if not (_have_names(self.class_names) and _have_names(source.class_names)):
            return
        for number, names in enumerate(zip(source.class_names, self.class_names, strict=True)):
            if names[0] != names[1]:
                raise UsageError(
                    f"--dataset={source.name}: class {number} is {names[0]!r}, for the classifier of "
                    f"--checkpoint {names[1]!r}; give data with the same classes"
                )

    def warn_of_training_images(self, source: Source, data_dir: str = "") -> None:
        """Says so where `source` holds images of the split that the classifier was trained on."""
        trained_on = self.config.data
        if source.name != trained_on.dataset:
            return
        try:
            trained = inputs.any_split(self.config.replace(data_dir=data_dir), trained_on.train_split)
        except UsageError:  # its CSV is no longer there
            return
        if data.shared_images(trained, source):
            print(
                f"warning: the classifier was trained on images of {source.name} {trained_on.train_split}: "
                f"its accuracy on {source.split} says nothing of other images"
            )


def load_run(checkpoint: str) -> LoadedRun:
    """Rebuilds the parts that a run folder (its newest checkpoint) or a checkpoint prefix holds.

    Raises:
        UsageError: no run there, or a checkpoint that cannot be read or does not fit its config.json.
    """
    config = stored.stored_config(checkpoint)
    prefix = prefixes.find(checkpoint)
    folder = RunFolder(stored.run_of(checkpoint), config)
    result, found = folder.read_json("result.json"), folder.read_json("data.json")
    shapes = prefixes.variable_shapes(prefix)
    kept = {name.split("/")[0] for name in shapes}
    parts = new_parts(config, _classes(shapes) if "classifier" in kept else 0)
    if "classifier" in kept and config.labels.ft_proj_selector:
        kept.add("projection_head")  # the classifier reads it: its absence is no version 1 file but a misfit
    parts = {name: part for name, part in parts.items() if name in kept}
    checkpoints.load_parts(prefix, parts, config)
    return LoadedRun(
        config=config,
        settings=stored.read_tree(folder.path),
        step=prefixes.step_of(prefix),
        encoder=parts["encoder"],
        projection_head=parts.get("projection_head"),
        classifier=parts.get("classifier"),
        head_layer=config.labels.ft_proj_selector,
        class_names=tuple(found.get("class_names", ())),
        top1=result.get("top1") if result.get("steps") == prefixes.step_of(prefix) else None,
        git_commit=result.get("git_commit"),
        texts=texts_lib.load(checkpoint, prefix),
    )


def load_momentum_encoder(checkpoint: str) -> LoadedRun:
    """As `load_run`, with the method's moving averages for encoder and projection head, and no classifier.

    Raises:
        UsageError: also where the run keeps none.
    """
    run = load_run(checkpoint)
    parts: dict[str, Any] = new_parts(run.config, 0)
    if not checkpoints.load_average(prefixes.find(checkpoint), parts["encoder"], parts["projection_head"]):
        raise UsageError(
            f"--export_momentum_encoder: --checkpoint={checkpoint} keeps no momentum copy of its encoder; "
            "give a pretraining by a method that does, or leave it out"
        )
    return dataclasses.replace(
        run,
        encoder=parts["encoder"],
        projection_head=parts["projection_head"],
        classifier=None,  # it was trained on the other encoder's h
        top1=None,  # and measured there
        momentum=True,
    )


def initialize_encoder(model: Pretraining | Classifier, config: Config) -> None:
    """Fills encoder and projection head from --checkpoint; without one they keep their random weights.

    Moving averages start equal to what was filled.
    """
    checkpoint = config.checkpoints.checkpoint
    if checkpoint:
        _warn_of_another_holdout(config)
        parts = {"encoder": model.encoder, "projection_head": model.projection_head}
        checkpoints.load_parts(prefixes.find(checkpoint), parts, config)
        for kept in (getattr(model, "state", None) or {}).values():
            if isinstance(kept, Average):
                kept.restart()


def frozen_encoder(config: Config) -> tuple[Encoder, int]:
    """The encoder of --checkpoint and its step; without one a random initialisation, which is said."""
    encoder, _, step = frozen_parts(config)
    return encoder, step


def frozen_parts(config: Config) -> tuple[Encoder, ProjectionHead | None, int]:
    """Encoder, projection head (None where the checkpoint has none) and step, as `frozen_encoder`."""
    if config.checkpoints.checkpoint:
        _warn_of_another_holdout(config)
        run = load_run(config.checkpoints.checkpoint)
        return run.encoder, run.projection_head, run.step
    print("no --checkpoint: the encoder is a random initialisation")
    parts = new_parts(config, 0)
    return parts["encoder"], parts["projection_head"], 0


def _warn_of_another_holdout(config: Config) -> None:
    """Says so where other images are held out of a data set than the run of --checkpoint held out."""
    own, before = config.data, stored.stored_config(config.checkpoints.checkpoint).data
    if own.dataset == before.dataset and own.holdout and _held_out(own) != _held_out(before):
        print(
            f"warning: --holdout={own.holdout:g} --holdout_seed={own.holdout_seed}: the run of --checkpoint "
            f"held other images out ({before.holdout:g}, {before.holdout_seed}); its encoder may have seen "
            "the tested ones"
        )


def _held_out(wanted: Data) -> tuple[float, int]:
    return wanted.holdout, wanted.holdout_seed


def _have_names(class_names: Sequence[str]) -> bool:
    """Whether the classes are named, not only counted."""
    return any(name != str(number) for number, name in enumerate(class_names))


def _classes(shapes: dict[str, list[int]]) -> int:
    return next(
        shape[0] for name, shape in shapes.items() if name.startswith("classifier/") and len(shape) == 1
    )
