"""`--add_class`: a run learns one more class, from few images of each (ORE, arXiv:2103.02603, Sec. 4.4).

ORE first trains on the new classes alone, then on a balanced set of exemplars of all. One class alone is
nothing to tell apart: here the exemplars are all, and without any the new class's images are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import data, inputs, runs
from tf_simclr.config import Config, stored
from tf_simclr.data import Source
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import UsageError, naming
from tf_simclr.evaluation.features import Encode, extract_features
from tf_simclr.evaluation.metrics import per_class_accuracy
from tf_simclr.inputs import known_classes
from tf_simclr.models import OpenSet
from tf_simclr.runs import prefixes

_QUEUES = "model/clusters/{}/.ATTRIBUTES/VARIABLE_VALUE"


def as_base(config: Config) -> Config:
    """With the images, draws and features of the run of --checkpoint: what it held out stays so.

    Raises:
        UsageError: it is no run of open_set, or of another data set.
    """
    checkpoint = config.checkpoints.checkpoint
    own = stored.stored_config(checkpoint)
    if own.command != "open_set":
        raise UsageError(
            f"--add_class: --checkpoint={checkpoint} is a run of {own.command}; give one of open_set"
        )
    if own.data.dataset != config.data.dataset:
        raise UsageError(
            f"--dataset={config.data.dataset}: the run of --checkpoint={checkpoint} is of "
            f"{own.data.dataset}, and so is the class of --add_class; leave it out"
        )
    return config.replace(
        train_split=own.data.train_split,
        seed=own.run.seed,
        label_fraction=own.labels.label_fraction,
        labels_per_class=own.labels.labels_per_class,
        ft_proj_selector=own.labels.ft_proj_selector,
        features_per_class=own.open_set.features_per_class,
    )


def known_with(config: Config, base: runs.LoadedRun, source: Source) -> list[int]:
    """The classes that the run knows, in its order, and the new one behind them.

    Raises:
        UsageError: the new one is known, there is no such class, or --known_classes names another.
    """
    wanted = config.open_set
    old = [source.class_names.index(name) for name in base.class_names]
    new = known_classes.number_of(wanted.add_class, source, "add_class")
    if new in old:
        raise UsageError(f"--add_class={wanted.add_class}: the run of --checkpoint knows it; give another")
    if wanted.known_classes:
        given = known_classes.numbers_of(wanted.known_classes, source, "known_classes")
        if not set(given) <= set(old):
            raise UsageError(
                f"--known_classes={wanted.known_classes}: the run of --checkpoint knows "
                f"{','.join(base.class_names)}; leave it out"
            )
    return [*old, new]


def exemplars(train: IndexedSource, count: int, seed: int) -> IndexedSource:
    """A balanced set of `count` images a class; with 0 all images of the last class, and no others."""
    if not count:
        return train.subset(np.flatnonzero(train.labels() == train.num_classes - 1))
    with naming("exemplars", instead_of="labels_per_class"):
        return train.subset(
            data.choose_labelled(
                train.labels(),
                per_class=count,
                num_classes=train.num_classes,
                class_names=train.class_names,
                seed=seed,
            )
        )


def take_over(model: OpenSet, base: runs.LoadedRun, checkpoint: str) -> None:
    """Gives the model the classifier, the prototypes and the queues of the old classes."""
    old, new = base.require_classifier(), model.classifier
    for variable, value in zip(new.variables, old.variables, strict=True):
        variable.assign(tf.concat([value, variable[..., old.num_classes :]], axis=-1))
    reader = tf.train.load_checkpoint(prefixes.find(checkpoint))
    for name in ("prototypes", "moves", "features", "pushed"):
        variable, kept = getattr(model.clusters, name), reader.get_tensor(_QUEUES.format(name))
        variable.assign(tf.concat([kept, variable[len(kept) :]], axis=0))


def before_and_after(config: Config, before: Encode, after: Encode, test: IndexedSource) -> dict[str, Any]:
    """Top-1 in percent on the old classes' test images before and after, and on the new one's.

    Args:
      before: images to logits of the old classes.
      after: images to logits of these and the new one, the last of `test`.
    """
    new = test.num_classes - 1
    found = {}
    for name, logits in (("before", before), ("after", after)):
        scores = extract_features(logits, inputs.evaluation_batches(config.data, test))
        predicted, old = scores.values.argmax(axis=1), scores.labels < new
        found[f"old_classes_top1_{name}"] = float(100 * np.mean(predicted[old] == scores.labels[old]))
    of_class = per_class_accuracy(predicted, scores.labels, test.num_classes)
    return {"added_class": test.class_names[new], **found, "added_class_top1": float(of_class[new])}
