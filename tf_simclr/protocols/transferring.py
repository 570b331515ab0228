"""Transfer by a linear classifier (App. B.8): logistic regression on frozen features."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr import data
from tf_simclr.config import Config
from tf_simclr.config import flags as flag_definitions
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation import logistic_regression
from tf_simclr.evaluation.features import Features, cached_features
from tf_simclr.evaluation.logistic_regression import LabelledFeatures, TransferResult
from tf_simclr.evaluation.metrics import top_k_accuracy
from tf_simclr.inputs import labelled, splits
from tf_simclr.inputs.batches import open_split
from tf_simclr.progress import progress_bar
from tf_simclr.protocols.on_features import cache_folder, cache_key
from tf_simclr.reports import plots
from tf_simclr.runs.folder import RunFolder

HELD_OUT = 0.1  # of the training images, where a data set has no validation split


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; figures in percent, the paper's None where it has no such data set."""

    dataset: str
    eval_split: str
    metric: str
    test: float
    validation: float
    l2: float
    converged: bool
    num_train: int
    num_eval_examples: int
    top1: float | None
    top5: float | None
    paper_1x: float | None
    paper_4x: float | None


def dataset_configs(config: Config) -> list[Config]:
    """The config of each data set that --datasets (or --dataset) names."""
    names = [name.strip() for name in config.transfers.datasets.split(",")]
    if names == [""]:
        return [config]
    if config.data.labels and config.data.labels != _inherited_labels(config):
        raise UsageError("--labels goes with --dataset=folder:PATH, not with --datasets")
    return [config.replace(dataset=name, labels="") for name in names]


def _inherited_labels(config: Config) -> str:
    checkpoint = config.checkpoints.checkpoint
    return flag_definitions.stored_config(checkpoint).data.labels if checkpoint else ""


def prediction_files(config: Config) -> dict[str, str]:
    """Each data set's file of predictions: predictions.npz where there is one data set only."""
    names = [one.data.dataset for one in dataset_configs(config)]
    if len(names) == 1:
        return {names[0]: "predictions.npz"}
    return {name: f"predictions_{slug(name)}.npz" for name in names}


def transfer(run: RunFolder, config: Config, encoder: tf.keras.Model, sha256: str) -> Row:
    """The row of one data set, taken from the run folder when it was finished before."""
    name, named = slug(config.data.dataset), splits.of_protocol(config)
    sources = _sources(config, named)
    if sources[-1].multi_label:
        named = dataclasses.replace(named, metric="voc_map")
    keys = [cache_key(config, source, sha256) for source in sources]
    key = f"{named.metric}, seed {config.run.seed}: {'; '.join(keys)}"
    stored = run.read_json(f"transfer_{name}.json")
    if stored.get("key") == key and "eval_split" in stored:
        return Row(**{field.name: stored[field.name] for field in dataclasses.fields(Row)})
    train, validation, test = _features(run, config, sources, encoder, sha256)
    print(f"{config.data.dataset}: {len(train.labels):,} features to train on, {len(test.labels):,} to test")
    parts = (LabelledFeatures(part.values, part.labels) for part in (train, validation, test))
    total = len(logistic_regression.L2_VALUES)
    with progress_bar(total=total, unit=" values of l2") as bar:
        result = logistic_regression.transfer(
            *parts, metric=named.metric, on_progress=lambda point: bar.update()
        )
    _keep(run, sources[-1], test, result, named.metric)
    row = _row(config.data.dataset, named, len(train.labels) + len(validation.labels), test, result)
    run.write_json(f"transfer_{name}.json", {**dataclasses.asdict(row), "key": key})
    return row


def slug(dataset: str) -> str:
    """A data set's name as a part of a file's name; of two names, however alike, never the same."""
    safe = re.sub(r"[^\w.-]+", "_", dataset).strip("_")
    return safe if safe == dataset else f"{safe}-{hashlib.sha256(dataset.encode()).hexdigest()[:6]}"


def drawn_by_seed(config: Config) -> bool:
    """Whether a data set's row depends on the seed: it draws the encoder, or the images that choose l2."""
    return not config.checkpoints.checkpoint or not splits.of_protocol(config).validation


def table(rows: list[Row]) -> str:
    """The rows beside ResNet-50 (1x) and (4x) of Tables B.5 and 8."""
    lines = [f"{'data set':<32}{'metric':<16}{'test %':>8}{'l2':>10}{'paper 1x':>10}{'paper 4x':>10}"]
    for row in rows:
        paper = "".join(
            f"{'-' if figure is None else format(figure, '.1f'):>10}"
            for figure in (row.paper_1x, row.paper_4x)
        )
        mark = " " if row.converged else "*"
        lines.append(f"{row.dataset:<32}{row.metric:<16}{row.test:>8.2f}{mark}{row.l2:>9.2g}{paper}")
    if not all(row.converged for row in rows):
        lines.append("* L-BFGS did not converge at every l2")
    return "\n".join(lines)


def _sources(config: Config, named: splits.Splits) -> list[Source]:
    """The images to train on, to choose l2 by where these have a split of their own, and to test on."""
    train = [split for split in (named.train, named.validation) if split]
    opened = [open_split(config, split, "train_split") for split in train]
    return [*opened, open_split(config, named.test, "eval_split")]


def _features(
    run: RunFolder, config: Config, sources: list[Source], encoder: tf.keras.Model, sha256: str
) -> tuple[Features, Features, Features]:
    """Features to train on, to choose l2 by, and to test on."""
    train, *validation, test = (
        cached_features(
            cache_folder(run),
            cache_key(config, source, sha256),
            lambda source=source: labelled.features(config, encoder, source),
        )
        for source in sources
    )
    if validation:
        return train, validation[0], test
    kept, held = _hold_out(train.labels, config.run.seed)
    return _rows(train, kept), _rows(train, held), test


def _hold_out(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to choose by: stratified, or at random where an image has several labels."""
    if labels.ndim == 1:
        return data.split_validation(labels, fraction=HELD_OUT, seed=seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    count = max(1, round(HELD_OUT * len(labels)))
    return np.sort(order[count:]), np.sort(order[:count])


def _rows(features: Features, indices: np.ndarray) -> Features:
    return Features(*(array[indices] for array in features))


def _keep(run: RunFolder, source: Source, test: Features, result: TransferResult, metric: str) -> None:
    """Predictions and the picture of the l2 path."""
    multi = metric == "voc_map"
    run.write_npz(
        prediction_files(run.config)[source.name],
        id=test.ids,
        label=test.labels,
        prediction=(result.scores > 0).astype(np.int64) if multi else result.scores.argmax(axis=1),
        class_names=np.array(source.class_names, dtype=str),
    )
    picture = plots.l2_path(result.path, result.l2, metric)
    (run.path / f"l2_path_{slug(source.name)}.png").write_bytes(picture)


def _row(dataset: str, named: splits.Splits, num_train: int, test: Features, result: TransferResult) -> Row:
    chosen = next(point for point in result.path if point.l2 == result.l2)
    top1, top5 = (
        (None, None)
        if named.metric == "voc_map"
        else (top_k_accuracy(result.scores, test.labels, k) for k in (1, 5))
    )
    return Row(
        dataset=dataset,
        eval_split=named.test,
        metric=named.metric,
        test=result.test,
        validation=chosen.validation,
        l2=result.l2,
        converged=result.converged,
        num_train=num_train,
        num_eval_examples=len(test.labels),
        top1=top1,
        top5=top5,
        paper_1x=named.paper.linear_1x if named.paper else None,
        paper_4x=named.paper.linear_4x if named.paper else None,
    )


def as_result(rows: list[Row]) -> dict[str, Any]:
    """What result.json says; top-1 where there is one data set only."""
    alone = rows[0] if len(rows) == 1 else None
    return {
        "dataset": ",".join(row.dataset for row in rows),
        "num_eval_examples": sum(row.num_eval_examples for row in rows),
        "top1": alone.top1 if alone else None,
        "top5": alone.top5 if alone else None,
        "transfer": [dataclasses.asdict(row) for row in rows],
    }
