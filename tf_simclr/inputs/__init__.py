"""The data of a run: which splits, which labels, which batches."""

from tf_simclr.inputs.batches import (
    any_split,
    eval_source,
    evaluation_batches,
    labelled_subset,
    open_split,
    optional_eval_source,
    pretraining_batches,
    train_and_test_sources,
    train_source,
    training_batches,
)

__all__ = [
    "any_split",
    "eval_source",
    "evaluation_batches",
    "labelled_subset",
    "open_split",
    "optional_eval_source",
    "pretraining_batches",
    "train_and_test_sources",
    "train_source",
    "training_batches",
]
