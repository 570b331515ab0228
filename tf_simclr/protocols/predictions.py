"""What a classifier makes of every test image: predictions.npz and its accuracies."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from tf_simclr import inputs
from tf_simclr.data import Source
from tf_simclr.evaluation.features import Encode, Features, extract_features
from tf_simclr.evaluation.metrics import mean_per_class_accuracy, top_k_accuracy
from tf_simclr.inputs import labelled
from tf_simclr.models import Classifier, Pretraining
from tf_simclr.protocols import pictures
from tf_simclr.runs.folder import RunFolder

BEST, MOST_CLASSES = 5, 100
FIGURES = ("num_eval_examples", "eval_split", "top1", "top5", "mean_per_class")


def of_classifier(run: RunFolder, logits: Encode, source: Source) -> dict[str, Any]:
    """Classifies every image of `source`, writes predictions.npz, returns the accuracies in percent."""
    found = write(run, source, labelled.features(run.config.data, logits, source))
    return {**found, "eval_split": source.split}


def of_online_classifier(
    run: RunFolder, model: Pretraining | Classifier, test: Source | None
) -> dict[str, Any]:
    """As `of_classifier` of h, on the images that have a label; nothing where there is nothing to test."""
    if model.classifier is not None and test is not None and test.num_classes:
        batches = inputs.evaluation_batches(run.config.data, test)
        scores = extract_features(lambda images: model.classifier(model.encoder(images)), batches)
        known = scores.labels >= 0
        if known.all():
            return write(run, test, scores)
        if known.any():
            part = test.only(scores.ids).subset(np.flatnonzero(known))
            return write(run, part, Features(*(array[known] for array in scores)))
    return {"num_eval_examples": 0}


def write(run: RunFolder, source: Source, classified: Features) -> dict[str, Any]:
    """Keeps what logits [n, C] say of `source`, and returns the accuracies in percent."""
    scores, labels, _ = classified
    predicted = keep(run, source, classified, softmax(scores, axis=1))
    return {
        "num_eval_examples": len(labels),
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "mean_per_class": mean_per_class_accuracy(predicted, labels),
    }


def keep(
    run: RunFolder,
    source: Source,
    classified: Features,
    probabilities: np.ndarray,
    file: str = "predictions.npz",
    **beside: np.ndarray,
) -> np.ndarray:
    """Writes `file`, with the arrays `beside`, and the picture of the most confident mistakes.

    The file holds, of n images: `id`, `label`, `prediction` [n]; `best` int64 [n, 5], the five best classes
    (all, where there are fewer), and `probability` float32 [n, 5], theirs; `probabilities` float32 [n, C] of
    every class where there are at most 100.

    Args:
      classified: `values` are scores [n, C], which order the classes; of equal ones the lower class is first.
      probabilities: [n, C], rows that add up to 1.

    Returns:
      The predicted classes, int64 [n].
    """
    scores, labels, ids = classified
    probabilities = np.asarray(probabilities, np.float32)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
    probability = np.take_along_axis(probabilities, best, axis=1)
    arrays = {"id": ids, "label": labels, "prediction": best[:, 0], "best": best, "probability": probability}
    if probabilities.shape[1] <= MOST_CLASSES:
        arrays["probabilities"] = probabilities
    run.write_npz(file, **arrays, **beside)
    pictures.mistakes(run, source.only(ids), labels, best[:, 0], probability[:, 0], file)
    return best[:, 0]
