"""The data of a run: which splits, which labels, which batches."""

from tf_simclr.inputs.batches import (
    evaluation_batches,
    pretraining_batches,
    training_batches,
    with_fitting_batch,
)
from tf_simclr.inputs.feeding import fed_batches
from tf_simclr.inputs.sources import (
    any_split,
    available_splits,
    eval_source,
    every_split,
    few,
    open_split,
    optional_eval_source,
    pretraining_source,
    train_and_test_sources,
    train_source,
)

__all__ = [
    "any_split",
    "available_splits",
    "eval_source",
    "evaluation_batches",
    "every_split",
    "fed_batches",
    "few",
    "open_split",
    "optional_eval_source",
    "pretraining_batches",
    "pretraining_source",
    "train_and_test_sources",
    "train_source",
    "training_batches",
    "with_fitting_batch",
]
