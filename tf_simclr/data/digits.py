"""scikit-learn's handwritten digits: 1,797 real grey images of 8x8 pixels, nothing to download."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.data import slices
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import EmptySplit

SPLITS = ("train", "test")
_TEST_EXAMPLES = 360
_DARKEST = 16  # the images hold 0..16


def open_digits(split: str) -> MemorySource:
    """The fixed split into 1,437 `train` and 360 `test` images, stratified by class, or slices of them."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)), test_size=_TEST_EXAMPLES, random_state=0, stratify=digits.target
    )
    splits = {"train": lambda: np.sort(train).tolist(), "test": lambda: np.sort(test).tolist()}
    indices = slices.select("digits", split, splits, name=_id)
    if not indices:
        raise EmptySplit(f"--dataset=digits: split {split!r} is empty")
    pixels = np.round(digits.images[indices] * (255 / _DARKEST)).astype(np.uint8)
    return MemorySource(
        "digits",
        split,
        "1",
        [str(digit) for digit in range(10)],
        images=[tf.io.encode_png(image[..., None]).numpy() for image in pixels],
        labels=digits.target[indices],
        ids=[_id(index) for index in indices],
    )


def _id(index: int) -> str:
    return f"digits-{index:04d}"
