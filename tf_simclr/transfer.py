"""`python -m tf_simclr.transfer`: logistic regression on frozen features, the l2 swept (App. B.8)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.progress import progress_bar

with epy.lazy_imports():
    import numpy as np
    import scipy.special

    from tf_simclr import data, files, inputs, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, logistic_regression, metrics
    from tf_simclr.inputs import labelled, splits
    from tf_simclr.protocols import datasets, on_features, predictions, proof, repeats, results
    from tf_simclr.reports import plots, terminal

COMMAND = Command(
    "transfer",
    "L-BFGS logistic regression on frozen features of each data set, its l2 chosen on validation images",
    "data encoder head transfers repeats comparison checkpoints devices run".split(),
    {"center_crop_fraction": 1.0, "resize_first": True},
)


def transfer(config: Config) -> dict[str, Any]:
    return repeats.over_seeds(config, COMMAND, transfer_once)


def transfer_once(config: Config) -> dict[str, Any]:
    configs = datasets.configs(config)
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    opened = [
        open_images(one) for one in configs
    ]  # a mistake in the last is found before the first is computed
    encoder, step = runs.frozen_encoder(config)

    with proof.frozen(encoder) as hashes:
        rows = [row_of(run, one, encoder, hashes["encoder_sha256_before"]) for one in opened]
    print(_table(rows))
    return results.conclude(run, step, **hashes, **_figures(rows))


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


@dataclasses.dataclass(frozen=True)
class Opened:
    """A data set: the images to train on, to choose l2 by where these have a split, and to test on."""

    config: Config
    named: splits.Splits
    sources: list[data.Source]


def open_images(config: Config) -> Opened:
    """Raises UsageError where images are trained and tested on, or a class has none to train on."""
    named = splits.of_protocol(config.data)
    chosen_by = [named.validation] if named.validation else []
    train = [inputs.open_split(config, split, "train_split") for split in (named.train, *chosen_by)]
    test = inputs.open_split(config, named.test, "eval_split")
    for source in train:
        splits.require_apart(source, test)
    labelled.require_classes(train[0])
    metric = "voc_map" if test.multi_label else named.metric
    return Opened(config, dataclasses.replace(named, metric=metric), [*train, test])


def row_of(run: runs.RunFolder, opened: Opened, encoder: networks.Encoder, sha256: str) -> Row:
    """The row of one data set, taken from the run folder when it was finished before."""
    config, named, sources = opened.config, opened.named, opened.sources
    training.print_census(*sources)
    training.print_held_out(run, sources[-1])
    run.write_held_out(sources[-1], datasets.file_of(run.config, "holdout_ids", config.data.dataset, "txt"))
    keys = [on_features.cache_key(config, source, sha256) for source in sources]
    key = f"{named.metric}, seed {config.run.seed}: {'; '.join(keys)}"
    file = f"transfer_{datasets.slug(config.data.dataset)}.json"
    stored = run.read_json(file)
    if stored.get("key") == key and "eval_split" in stored:
        return Row(**{field.name: stored[field.name] for field in dataclasses.fields(Row)})
    train, validation, test = _features(run, config, sources, encoder, sha256)
    print(f"{config.data.dataset}: {len(train.labels):,} features to train on, {len(test.labels):,} to test")
    result = _regression(config.data.dataset, train, validation, test, named.metric)
    _keep(run, sources[-1], test, result, named.metric)
    row = _row(config.data.dataset, named, len(train.labels) + len(validation.labels), test, result)
    run.write_json(file, {**dataclasses.asdict(row), "key": key})
    return row


def _features(
    run: runs.RunFolder, config: Config, sources: list[data.Source], encoder: networks.Encoder, sha256: str
) -> tuple[features.Features, features.Features, features.Features]:
    """Features to train on, to choose l2 by, and to test on."""
    train, *validation, test = (
        features.cached_features(
            on_features.cache_folder(run),
            on_features.cache_key(config, source, sha256),
            lambda source=source: labelled.features(config.data, encoder, source),
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
        return data.split_validation(labels, fraction=labelled.HELD_OUT, seed=seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    count = max(1, round(labelled.HELD_OUT * len(labels)))
    return np.sort(order[count:]), np.sort(order[:count])


def _rows(whole: features.Features, indices: np.ndarray) -> features.Features:
    return features.Features(*(array[indices] for array in whole))


def _regression(
    name: str,
    train: features.Features,
    validation: features.Features,
    test: features.Features,
    metric: metrics.Metric,
) -> logistic_regression.TransferResult:
    parts = [
        logistic_regression.LabelledFeatures(part.values, part.labels) for part in (train, validation, test)
    ]
    with progress_bar(total=len(logistic_regression.L2_VALUES), desc=name, unit=" values of l2") as bar:
        return logistic_regression.transfer(*parts, metric=metric, on_progress=lambda point: bar.update())


def _keep(
    run: runs.RunFolder,
    source: data.Source,
    test: features.Features,
    result: logistic_regression.TransferResult,
    metric: str,
) -> None:
    """Predictions and the picture of the l2 path."""
    file, scores = datasets.prediction_files(run.config)[source.name], result.scores
    names = np.array(source.class_names, dtype=str)
    if metric == "voc_map":  # logits of one classifier a class
        predicted, probabilities = (scores > 0).astype(np.int64), scipy.special.expit(scores)
        arrays = {"prediction": predicted, "probabilities": probabilities.astype(np.float32)}
        run.write_npz(file, id=test.ids, label=test.labels, **arrays, class_names=names)
    else:
        predictions.keep(run, source, test._replace(values=scores), scores, file, class_names=names)
    picture = plots.l2_path(result.path, result.l2, metric)
    files.write_whole(run.path / f"l2_path_{datasets.slug(source.name)}.png", picture)


def _row(
    dataset: str,
    named: splits.Splits,
    num_train: int,
    test: features.Features,
    result: logistic_regression.TransferResult,
) -> Row:
    chosen = next(point for point in result.path if point.l2 == result.l2)
    top1, top5 = (
        (None, None)
        if named.metric == "voc_map"
        else (metrics.top_k_accuracy(result.scores, test.labels, k) for k in (1, 5))
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


def _figures(rows: list[Row]) -> dict[str, Any]:
    """What result.json says; top-1 where there is one data set only."""
    alone = rows[0] if len(rows) == 1 else None
    return {
        "dataset": ",".join(row.dataset for row in rows),
        "num_eval_examples": sum(row.num_eval_examples for row in rows),
        "top1": alone.top1 if alone else None,
        "top5": alone.top5 if alone else None,
        "transfer": [dataclasses.asdict(row) for row in rows],
    }


def _table(rows: list[Row]) -> str:
    """The rows beside ResNet-50 (1x) and (4x) of Tables B.5 and 8."""
    columns = ["data set", "metric", "test %", "l2", "paper 1x", "paper 4x"]
    lines = [terminal.table(columns, [_cells(row) for row in rows], left=2)]
    if not all(row.converged for row in rows):
        lines.append("* L-BFGS did not converge at every l2")
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    test = f"{row.test:.2f}{' ' if row.converged else '*'}"
    paper = ["-" if figure is None else f"{figure:.1f}" for figure in (row.paper_1x, row.paper_4x)]
    return [row.dataset, row.metric, test, f"{row.l2:.2g}", *paper]


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, transfer, arguments)


if __name__ == "__main__":
    sys.exit(main())
