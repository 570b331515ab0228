"""What a classifier makes of every test image: predictions.npz and its accuracies."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_simclr import inputs
from tf_simclr.data import Source
from tf_simclr.evaluation.features import Encode, Features, extract_features
from tf_simclr.evaluation.metrics import mean_per_class_accuracy, top_k_accuracy
from tf_simclr.inputs import labelled
from tf_simclr.models import Classifier, Pretraining
from tf_simclr.runs.folder import RunFolder

FIGURES = ("num_eval_examples", "eval_split", "top1", "top5", "mean_per_class")


def of_classifier(run: RunFolder, logits: Encode, source: Source) -> dict[str, Any]:
    """Classifies every image of `source`, writes predictions.npz, returns the accuracies in percent."""
    found = write(run, labelled.features(run.config.data, logits, source))
    return {**found, "eval_split": source.split}


def of_online_classifier(
    run: RunFolder, model: Pretraining | Classifier, test: Source | None
) -> dict[str, Any]:
    """As `of_classifier` of h, on the images that have a label; nothing where there is nothing to test."""
    if model.classifier is not None and test is not None and test.num_classes:
        batches = inputs.evaluation_batches(run.config.data, test)
        scores = extract_features(lambda images: model.classifier(model.encoder(images)), batches)
        known = scores.labels >= 0
        if known.any():
            return write(run, Features(*(array[known] for array in scores)))
    return {"num_eval_examples": 0}


def write(run: RunFolder, classified: Features) -> dict[str, Any]:
    """Writes predictions.npz (id, label, prediction, and the five best classes) of scores `values` [n, C]."""
    scores, labels, ids = classified
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]  # [n, 5]
    run.write_npz("predictions.npz", id=ids, label=labels, prediction=best[:, 0], best=best)
    return {
        "num_eval_examples": len(labels),
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "mean_per_class": mean_per_class_accuracy(best[:, 0], labels),
    }
