"""Sources of encoded images, views, batches, and the choice of labelled examples."""

from tf_simclr.data.cache import cached
from tf_simclr.data.holdout import Holdout
from tf_simclr.data.labels import choose_labelled, require_labels, split_validation
from tf_simclr.data.overlap import shared_images
from tf_simclr.data.pipeline import (
    Sampling,
    evaluation_batches,
    first_good,
    pretraining_batches,
    training_batches,
    undecodable_image,
)
from tf_simclr.data.records import Source
from tf_simclr.data.sources import available_splits, default_eval_split, eval_splits, open_source

__all__ = [
    "Holdout",
    "Sampling",
    "Source",
    "available_splits",
    "cached",
    "choose_labelled",
    "default_eval_split",
    "eval_splits",
    "evaluation_batches",
    "first_good",
    "open_source",
    "pretraining_batches",
    "require_labels",
    "shared_images",
    "split_validation",
    "training_batches",
    "undecodable_image",
]
