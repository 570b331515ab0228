"""How far a converted model is from the live one: on test inputs, and on the run's evaluation images."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.evaluation.index import search_itself
from tf_simclr.evaluation.metrics import top_k_accuracy

from .convert import Run
from .parts import Part
from .samples import Samples


def live(part: Part) -> Run:
    """The part as it is, in inference mode."""
    call = tf.function(lambda inputs: part.call(inputs, False), reduce_retracing=True)
    return lambda inputs: call(tf.constant(inputs)).numpy()


def largest_difference(run: Run, part: Part) -> float:
    """Largest difference from the live part on its test inputs, as a fraction of the largest output."""
    expects = live(part)
    return max(_difference(run(inputs), expects(inputs)) for inputs in part.cases)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """As a fraction of the largest expected value (at least 1); infinite where the shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(found - expected)) / max(1.0, np.max(np.abs(expected))))


def measure(name: str, run: Run, part: Part, represent: Run | None, samples: Samples) -> dict[str, Any]:
    """What export.json says of the run's own images: `largest_difference` as above, and `drop`.

    `drop` has the `images` of `split` and the mean `cosine` between the two outputs of an image; with labels
    the top-1 in percent: of a classifier, or of h's and z's nearest other image by cosine.

    Args:
        name: of the part.
        represent: images to the part's inputs; None: it takes images.
    """
    expects = live(part)
    expected, found, labels = [], [], []
    for batch in samples.measured():
        inputs = batch["image"] if represent is None else represent(batch["image"])
        expected.append(expects(inputs))
        found.append(run(inputs))
        labels.append(batch["label"])
    outputs, label = [np.concatenate(expected), np.concatenate(found)], np.concatenate(labels)
    difference = _difference(outputs[1], outputs[0])
    cosine = float(np.mean(np.sum(_unit(outputs[0]) * _unit(outputs[1]), axis=1)))
    drop: dict[str, Any] = {"split": samples.split, "images": len(label), "cosine": cosine}
    known = label >= 0 if label.ndim == 1 else np.zeros(len(label), bool)
    if known.sum() > 1:
        top1 = _top1_of_logits if name == "classifier" else _top1_of_neighbours
        drop["live_top1"], drop["top1"] = (top1(values[known], label[known]) for values in outputs)
    return {"largest_difference": difference, "drop": drop}


def _top1_of_logits(logits: np.ndarray, labels: np.ndarray) -> float:
    return top_k_accuracy(logits, labels, 1) or 0.0


def _top1_of_neighbours(values: np.ndarray, labels: np.ndarray) -> float:
    nearest = search_itself(values, 1, "exact").indices[:, 0]
    return float(100 * np.mean(labels[nearest] == labels))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
