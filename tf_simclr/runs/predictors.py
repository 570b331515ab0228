"""What predicts classes: the classifier of a run, or an exported one alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from etils import epath

from tf_simclr.config import Config, exported
from tf_simclr.runs.loading import load_run


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained classifier.

    Attributes:
        probabilities: images float32 [b, H, W, 3] in [0, 1] to float32 [b, C], in inference mode.
        class_names: C names, in the order of the classes.
        origin: which one it is, for people.
    """

    probabilities: Callable[[tf.Tensor], tf.Tensor]
    class_names: tuple[str, ...]
    origin: str


def of_config(config: Config) -> Predictor:
    """The classifier of --export, else of --checkpoint.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    return _exported(config.predicting.export) if config.predicting.export else _of_run(config)


def _of_run(config: Config) -> Predictor:
    run = load_run(config.checkpoints.checkpoint)
    count = run.require_classifier().num_classes

    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(run.logits(images), tf.float32))

    names = run.class_names if len(run.class_names) == count else tuple(map(str, range(count)))
    return Predictor(probabilities, names, f"{config.checkpoints.checkpoint}, step {run.step:,}")


def _exported(export: str) -> Predictor:
    folder = exported.find(export)
    facts = exported.read_facts(folder)
    try:
        names = _class_names(folder, facts)
        if len(names) != facts["num_classes"]:
            raise ValueError(f"it names {len(names)} of {facts['num_classes']} classes")
        _warn_of_foreign(folder, facts)
        model = tf.saved_model.load(str(folder))
        if "serving_default" not in model.signatures:
            raise ValueError("it has no signature serving_default")
    except Exception as error:  # whatever a damaged SavedModel raises
        raise exported.damaged(folder, error) from error

    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return model.signatures["serving_default"](images=images)["probabilities"]

    return Predictor(probabilities, names, str(folder))


def _class_names(folder: epath.Path, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Of export.json; an older one has them in the assets alone."""
    names = (
        facts.get("class_names") or (folder / "assets" / "class_names.txt").read_text("utf-8").splitlines()
    )
    return tuple(names)


def _warn_of_foreign(folder: epath.Path, facts: Mapping[str, Any]) -> None:
    """Says of a SavedModel that is not as `python -m export` left it that it runs all the same."""
    graph = hashlib.sha256((folder / "saved_model.pb").read_bytes()).hexdigest()
    if facts.get("graph_sha256") != graph:
        print(
            f"warning: --export={folder} is not known to be an export of this project, and TensorFlow runs "
            "whatever its graph says: use it only if you trust who made it (docs/security.md)",
            flush=True,
        )
