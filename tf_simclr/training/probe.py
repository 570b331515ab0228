"""--probe_epochs: what the encoder is worth while it is pretrained, on labelled data of any source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Config, Steps
from tf_simclr.data import Source
from tf_simclr.errors import UsageError, naming
from tf_simclr.evaluation import nearest_neighbours as knn
from tf_simclr.evaluation.features import Features
from tf_simclr.evaluation.label_efficiency import linear_accuracy
from tf_simclr.evaluation.logistic_regression import LabelledFeatures
from tf_simclr.inputs import labelled, splits
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training.callbacks import StepCallback, due, write_scalars

NEIGHBOURS = 200
Watchers = Callable[[int], list[StepCallback]]


def watchers(config: Config, model: tf.keras.Model, steps: Steps, run: RunFolder) -> Watchers:
    """For `fit`: a probe every --probe_epochs and at the end; none where that is 0.

    Raises:
        UsageError: --probe_dataset or its splits cannot be opened or have no labels, or --probe_images are
            too few to train a classifier on.
    """
    if not config.probe.probe_epochs:
        return lambda start: []
    asked = _probe_config(config)
    most, seed = config.probe.probe_images, config.run.seed
    bank, queries = (_at_most(source, most, seed) for source in _sources(config, asked))
    _require_two_classes(bank, most)
    probe = Probe(asked, model.encoder, bank, queries)
    every = config.probe.probe_epochs * steps.per_epoch
    return lambda start: [_Every(start, steps, every, run, probe)]


class Probe:
    """Top-1 in percent of k-NN and of a logistic regression, on frozen features of few images."""

    def __init__(self, config: Config, encoder: tf.keras.Model, bank: Source, queries: Source) -> None:
        self._config, self._bank, self._queries = config, bank, queries
        self._encode = tf.function(encoder.call)  # traced once, not at every probe

    def __call__(self) -> dict[str, float]:
        bank, queries = self._features(self._bank), self._features(self._queries)
        found = knn.nearest_neighbours(queries.values, [bank], NEIGHBOURS)
        weighted = knn.classify(found, queries.labels, self._bank.num_classes, [NEIGHBOURS])[0]
        linear = linear_accuracy(
            LabelledFeatures(bank.values, bank.labels), LabelledFeatures(queries.values, queries.labels)
        )
        return {"probe_knn_top1": weighted.top1, "probe_linear_top1": linear}

    def _features(self, source: Source) -> Features:
        return labelled.features(self._config.data, self._encode, source)


class _Every(StepCallback):
    """Writes probe.csv and TensorBoard."""

    def __init__(self, start: int, steps: Steps, every: int, run: RunFolder, probe: Probe) -> None:
        super().__init__(start)
        self._steps, self._every, self._probe = steps, every, probe
        self._table = Table(run, "probe.csv", start, every)
        self._writer = tf.summary.create_file_writer(str(run.logs))

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        if not due(before, step, self._every, self._steps.total):
            return
        figures = self._probe()
        self._table.append({"step": step, **figures})
        write_scalars(self._writer, step, figures)


def _sources(config: Config, asked: Config) -> tuple[Source, Source]:
    """The labelled images of a probe's bank, and those that it is tested on."""
    with (
        naming("probe_dataset", instead_of="dataset") if config.probe.probe_dataset else nullcontext(),
        naming("probe_train_split", instead_of="train_split"),
        naming("probe_eval_split", instead_of="eval_split"),
    ):
        bank, queries = inputs.train_source(asked, labelled=True), inputs.eval_source(asked)
        splits.require_apart(bank, queries)
        labelled.require_classes(bank)
    return bank, queries


def _probe_config(config: Config) -> Config:
    other = {"dataset": config.probe.probe_dataset, "labels": ""} if config.probe.probe_dataset else {}
    return config.replace(
        train_split=config.probe.probe_train_split, eval_split=config.probe.probe_eval_split, **other
    )


def _at_most(source: Source, count: int, seed: int) -> Source:
    if source.num_examples <= count:
        return source
    return source.subset(np.sort(np.random.default_rng(seed).permutation(source.num_examples)[:count]))


def _require_two_classes(bank: Source, most: int) -> None:
    if len(np.unique(bank.labels())) < 2:
        raise UsageError(f"--probe_images={most}: they are of one class, which tells no two apart; give more")
