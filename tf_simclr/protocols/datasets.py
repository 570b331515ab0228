"""The data sets of --datasets: the config, the file names and the randomness of each."""

from __future__ import annotations

import hashlib
import re

from tf_simclr.config import Config, stored
from tf_simclr.errors import UsageError
from tf_simclr.inputs import splits


def configs(config: Config) -> list[Config]:
    """The config of each data set that --datasets (or --dataset) names."""
    names = [name.strip() for name in config.transfers.datasets.split(",")]
    if names == [""]:
        return [config]
    if config.data.labels and config.data.labels != _inherited_labels(config.checkpoints.checkpoint):
        raise UsageError("--labels goes with --dataset=folder:PATH, not with --datasets")
    return [config.replace(dataset=name, labels="") for name in names]


def _inherited_labels(checkpoint: str) -> str:
    return stored.stored_config(checkpoint).data.labels if checkpoint else ""


def prediction_files(config: Config) -> dict[str, str]:
    """Each data set's file of predictions: predictions.npz where there is one data set only."""
    names = [one.data.dataset for one in configs(config)]
    return {name: file_of(config, "predictions", name, "npz") for name in names}


def file_of(config: Config, kind: str, dataset: str, suffix: str) -> str:
    """A data set's own file, KIND.SUFFIX where there is one data set only."""
    alone = "," not in config.transfers.datasets
    return f"{kind}.{suffix}" if alone else f"{kind}_{slug(dataset)}.{suffix}"


def slug(dataset: str) -> str:
    """A data set's name as a part of a file's name; of two names, however alike, never the same."""
    safe = re.sub(r"[^\w.-]+", "_", dataset).strip("_")
    return safe if safe == dataset else f"{safe}-{hashlib.sha256(dataset.encode()).hexdigest()[:6]}"


def drawn_by_seed(config: Config) -> bool:
    """Whether a data set's row depends on the seed: it draws the encoder, or the images that choose l2."""
    return not config.checkpoints.checkpoint or not splits.of_protocol(config.data).validation
