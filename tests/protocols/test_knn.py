"""k-NN and the labels that every evaluation needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, folder_of
from tf_simclr import inputs, knn, runs
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import UsageError
from tf_simclr.inputs import labelled


def test_knn_draws_neighbours_and_both_representations(evaluating: Make) -> None:
    config = evaluating("knn")
    knn.knn(config)
    report = (folder_of(config) / "report.html").read_text()
    for caption in ("Nearest neighbours of sample", "t-SNE of h and z", "Accuracy of each class", "mistakes"):
        assert caption in report
    assert (folder_of(config) / "neighbours.png").read_bytes().startswith(b"\x89PNG")


def test_probabilities_of_knn_are_shares_of_the_weighted_votes(evaluating: Make) -> None:
    config = evaluating("knn")
    bank, queries = inputs.train_and_test_sources(config)
    encoder, _ = runs.frozen_encoder(config)
    stored, asked = (labelled.features(config.data, encoder, source) for source in (bank, queries))
    knn._classify(runs.RunFolder.open(config, knn.COMMAND), encoder, None, bank, queries)
    with np.load(folder_of(config) / "predictions.npz") as kept:
        probabilities, predicted = kept["probabilities"], kept["prediction"]
    h, others = (f.values / np.linalg.norm(f.values, axis=1, keepdims=True) for f in (asked, stored))
    for row in range(0, 360, 40):
        similarity = others @ h[row]
        nearest = np.argsort(-similarity)[:200]
        votes = np.bincount(stored.labels[nearest], np.exp(similarity[nearest] / 0.07), minlength=10)
        np.testing.assert_allclose(probabilities[row], votes / votes.sum(), atol=1e-3)
        assert predicted[row] == probabilities[row].argmax()


def test_an_unlabelled_image_among_labelled_ones_is_a_mistake_of_any_evaluation() -> None:
    picture = tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy()
    source = MemorySource("x", "test", "1", ["a", "b"], images=[picture] * 2, labels=[1, -1], ids=["0", "1"])
    config = Config("knn").replace(image_size=8)
    with pytest.raises(UsageError, match="--dataset=x: split 'test': example 1 has no label"):
        labelled.features(config.data, lambda images: images[:, 0, 0], source)


def test_images_without_labels_are_sent_to_search(evaluating: Make, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy())
    with pytest.raises(UsageError, match=r"has no classes; .*python -m tf_simclr\.search"):
        knn.knn(evaluating("knn", dataset=f"folder:{tmp_path}"))
