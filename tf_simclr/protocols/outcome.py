"""What a finished run leaves: predictions.npz and result.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Steps
from tf_simclr.data import Source
from tf_simclr.evaluation import nearest_neighbours as knn
from tf_simclr.evaluation.features import Features, encode_batches, extract_features
from tf_simclr.evaluation.metrics import mean_per_class_accuracy, top_k_accuracy
from tf_simclr.inputs import labelled
from tf_simclr.models import Classifier, ProjectionHead, SimCLR
from tf_simclr.protocols import pictures
from tf_simclr.reports.run_report import write_run_report
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import Speed

NEIGHBOURS = (20, 200)
FIGURES = ("num_eval_examples", "eval_split", "top1", "top5", "mean_per_class")
Logits = Callable[[tf.Tensor], tf.Tensor]


def of_pretraining(
    run: RunFolder, model: SimCLR, test: Source | None, steps: Steps, speed: Speed
) -> dict[str, Any]:
    """result.json of a pretraining; the online classifier's accuracy where there are labels to test it."""
    accuracy: dict[str, Any] = {"num_eval_examples": 0}
    if model.classifier is not None and test is not None and test.num_classes:
        batches = inputs.evaluation_batches(run.config, test)
        scores = extract_features(lambda images: model.classifier(model.encoder(images)), batches)
        known = scores.labels >= 0
        if known.any():
            accuracy = save_predictions(run, Features(*(array[known] for array in scores)))
    return conclude(run, steps.total, speed, **accuracy)


def evaluate(run: RunFolder, logits: Logits, source: Source) -> dict[str, Any]:
    """Classifies every image of `source`, writes predictions.npz, returns the accuracies in percent."""
    found = save_predictions(run, labelled.features(run.config, logits, source))
    return {**found, "eval_split": source.split}


def evaluate_linear(run: RunFolder, model: Classifier, source: Source) -> dict[str, Any]:
    """As `evaluate`, by the features that the classifier sees; these are drawn too."""
    seen = labelled.features(run.config, model.features, source)
    if not model.head_layer:
        pictures.tsne(run, seen, model.projection_head, source.class_names)
    scores = model.classifier(tf.constant(seen.values)).numpy()
    return {**save_predictions(run, seen._replace(values=scores)), "eval_split": source.split}


def nearest_neighbours(
    run: RunFolder,
    encoder: tf.keras.Model,
    bank: Source,
    queries: Source,
    head: ProjectionHead | None = None,
) -> dict[str, Any]:
    """k-NN of the queries in the bank; `top1` is that of k = 200 and weighted votes."""
    asked = labelled.features(run.config, encoder, queries)
    stored = _checked(encode_batches(encoder, inputs.evaluation_batches(run.config, bank)), bank)
    found = knn.nearest_neighbours(asked.values, stored, max(NEIGHBOURS))
    pictures.tsne(run, asked, head, bank.class_names)
    pictures.neighbours(run, found, bank, queries)
    results = knn.classify(found, asked.labels, bank.num_classes, NEIGHBOURS)
    ways = [f"k{k}_{votes}" for k in NEIGHBOURS for votes in ("weighted", "plain")]
    by_way = dict(zip(ways, results, strict=True))
    best = by_way["k200_weighted"]
    run.write_npz("predictions.npz", id=asked.ids, label=asked.labels, prediction=best.predictions)
    return {
        "num_eval_examples": len(asked.labels),
        "eval_split": queries.split,
        "top1": best.top1,
        "top5": best.top5,
        "knn": {way: result.top1 for way, result in by_way.items()},
        "knn_k": [result.k for result in results[::2]],  # cut to the bank where that is smaller
    }


def _checked(parts: Iterable[Features], source: Source) -> Iterator[Features]:
    for part in parts:
        labelled.require_labels(part, source)
        yield part


def require_unchanged(before: str, after: str, part: str = "encoder") -> None:
    """The proof that an evaluation left the encoder alone (its weights and batch-norm statistics)."""
    if before != after:
        raise FrozenEncoderMoved(
            f"the frozen {part} changed: SHA-256 {before[:12]} before, {after[:12]} after"
        )
    print(f"{part} SHA-256 before and after: {before}")


class FrozenEncoderMoved(RuntimeError):
    """A bug: an evaluation trained what it promised to leave alone."""


def save_predictions(run: RunFolder, classified: Features) -> dict[str, Any]:
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


def conclude(run: RunFolder, steps: int, speed: Speed | None = None, **values: Any) -> dict[str, Any]:
    """Writes result.json and report.html, and prints the summary line."""
    if speed is None:  # an evaluation: its time is all that has passed, loading included
        seconds = time.perf_counter() - run.opened
        speed = Speed(values["num_eval_examples"] / seconds, seconds)
    if not speed.wall_seconds:  # nothing was left to train: keep what training measured
        kept = run.read_json("result.json")
        timing = {name: kept.get(name) for name in ("images_per_second", "wall_seconds")}
    else:
        timing = {
            "images_per_second": round(speed.images_per_second, 1),
            "wall_seconds": round(speed.wall_seconds, 1),
        }
    result = run.write_result(steps=steps, **timing, **values)
    images = f"on {result['num_eval_examples']:,} images"
    top1 = f"{steps:,} steps done" if result["top1"] is None else f"top-1 {result['top1']:.2f} % {images}"
    if result.get("top1_std") is not None:
        top1 += f", ± {result['top1_std']:.2f} over {len(result['seeds'])} seeds"
    report = write_run_report(run.path)
    print(f"{run.config.command}: {top1}; {report}")
    return result
