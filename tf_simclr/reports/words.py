"""What the keys of result.json are called where people read them."""

from __future__ import annotations

_WORDS = {
    "bad_images": "images that cannot be decoded",
    "encoder_sha256_after": "SHA-256 of the encoder, after",
    "encoder_sha256_before": "SHA-256 of the encoder, before",
    "eval_split": "split tested on",
    "images_per_second": "images a second",
    "knn": "top-1 % of k-NN",
    "knn_k": "k of k-NN",
    "mean_and_std": "mean and standard deviation",
    "mean_per_class": "mean of the classes' accuracies, %",
    "num_eval_examples": "images tested on",
    "num_labels": "labels trained on",
    "num_train": "images trained on",
    "num_train_examples": "images trained on",
    "projection_head_sha256": "SHA-256 of the projection head",
    "teacher_sha256_after": "SHA-256 of the teacher, after",
    "teacher_sha256_before": "SHA-256 of the teacher, before",
    "teacher_top1": "top-1 of the teacher, %",
    "test": "test, %",
    "top1": "top-1, %",
    "top1_std": "top-1, standard deviation",
    "top5": "top-5, %",
    "validation": "validation, %",
    "versions": "version",
    "wall_seconds": "seconds",
}


def of(key: str) -> str:
    """In lower case; a key without words of its own is read without its underscores."""
    return _WORDS.get(key, key.replace("_", " "))


def heading(key: str) -> str:
    words = of(key)
    return words[:1].upper() + words[1:]
