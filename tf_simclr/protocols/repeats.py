"""Error bars: an evaluation repeated over seeds, and its predictions compared with another run's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.paper_transfer import paper_dataset
from tf_simclr.evaluation.significance import compare_predictions
from tf_simclr.protocols import outcome
from tf_simclr.protocols.transferring import dataset_configs, drawn_by_seed, prediction_files
from tf_simclr.reports.run_report import write_run_report
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import Speed


def over_seeds(config: Config, command: Command, once: Callable[[Config], None]) -> None:
    """Runs `once`; with --seeds once a seed, in MODEL_DIR/seed_S, and concludes with mean and deviation.

    With --compare_with each run is compared with the same seed of the other, or with its only run.

    Raises:
        UsageError: a run to compare with that has no predictions.
    """
    if not config.repeats.seeds:
        _once(config, once)
        return
    seeds = [int(seed) for seed in config.repeats.seeds.split(",")]
    run = RunFolder.open(config, command)
    parts = [_of_seed(config, seed, run.path / f"seed_{seed}") for seed in seeds]
    for part in parts:
        _opponents(part)  # a mistake is found before the first seed is trained
    for part in parts:
        tf.keras.backend.clear_session()
        _once(part, once)
    _conclude(run, [RunFolder(epath.Path(part.run.model_dir), part) for part in parts])


def _once(config: Config, once: Callable[[Config], None]) -> None:
    opponents = _opponents(config)
    once(config)
    if opponents:
        _compare(RunFolder(epath.Path(config.run.model_dir), config), opponents)


def _of_seed(config: Config, seed: int, folder: epath.Path) -> Config:
    return config.replace(seed=seed, seeds="", model_dir=str(folder))


def _opponents(config: Config) -> dict[str, epath.Path]:
    """What --compare_with means for each data set: predictions of the same seed in it, else its own."""
    if not config.repeats.compare_with:
        return {}
    files = prediction_files(config)
    folder = epath.Path(config.repeats.compare_with)
    for candidate in (folder / f"seed_{config.run.seed}", folder):
        if all((candidate / file).exists() for file in files.values()):
            return {dataset: candidate / file for dataset, file in files.items()}
    raise UsageError(
        f"--compare_with={folder}: no {' and '.join(files.values())} in it or in its seed_{config.run.seed}; "
        "give the run folder of a finished evaluation of the same data"
    )


def _compare(run: RunFolder, opponents: dict[str, epath.Path]) -> None:
    """Adds `comparison` (`comparisons` of several data sets) to result.json and report.html (App. B.8)."""
    found = [_comparison(run, dataset, opponent) for dataset, opponent in opponents.items()]
    added = {"comparison": found[0]} if len(found) == 1 else {"comparisons": found}
    run.write_json("result.json", {**run.read_json("result.json"), **added})
    write_run_report(run.path)


def _comparison(run: RunFolder, dataset: str, opponent: epath.Path) -> dict[str, Any]:
    """The paired tests of one data set, by the metric of its row; accuracy for VOC, not mAP (App. B.8)."""
    known = paper_dataset(dataset)
    by_class = known is not None and known.metric == "mean_per_class"
    metric: Any = "mean_per_class" if by_class else "top1"
    found = compare_predictions(run.path / prediction_files(run.config)[dataset], opponent, metric)
    mcnemar = "" if found.p_mcnemar is None else f", McNemar p = {found.p_mcnemar:.3g}"
    print(
        f"{dataset}: {found.accuracy_a:.2f} % here against {found.accuracy_b:.2f} % in {opponent.parent}: "
        f"permutation p = {found.p_permutation:.3g}{mcnemar} "
        f"({found.only_a_right:,} right only here, {found.only_b_right:,} only there)"
    )
    return {
        "dataset": dataset,
        "with": str(opponent.parent),
        "metric": metric,
        **dataclasses.asdict(found),
    }


def _mean(figures: list[Any]) -> float | None:
    """None where a seed has no such figure."""
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if len(known) == len(figures) else None


def _deviation(figures: list[Any]) -> float | None:
    """With n - 1; one seed has none."""
    return float(np.std(figures, ddof=1)) if len(figures) > 1 else None


def _spread(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the seeds of each figure that they all have."""
    values: dict[str, Any] = {}
    for name in ("top1", "top5", "mean_per_class"):
        figures = [result.get(name) for result in results]
        if (mean := _mean(figures)) is not None:
            values |= {name: mean, f"{name}_std": _deviation(figures)}
    if "top1" in values:
        values["per_seed"] = [result["top1"] for result in results]
    return values


def _transfer_rows(config: Config, per_seed: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a data set: means over the seeds, the test figure's deviation, and what each seed had.

    Where no seed decides anything there is no deviation.
    """
    rows = []
    for one_set, *same in zip(dataset_configs(config), *per_seed, strict=True):
        row, tests = dict(same[0]), [one["test"] for one in same]
        for name in ("test", "validation", "top1", "top5"):
            row[name] = _mean([one[name] for one in same])
        row |= {
            "test_std": _deviation(tests) if drawn_by_seed(one_set) else None,
            "per_seed": tests,
            "l2": [one["l2"] for one in same],
        }
        row["converged"] = all(one["converged"] for one in same)
        deviation = "" if row["test_std"] is None else f" ± {row['test_std']:.2f}"
        print(f"{row['dataset']}: {row['metric']} {row['test']:.2f}{deviation} %")
        rows.append(row)
    return rows


def _conclude(run: RunFolder, parts: list[RunFolder]) -> None:
    results = [part.read_json("result.json") for part in parts]
    values: dict[str, Any] = {
        "dataset": results[0]["dataset"],
        "seeds": [result["seed"] for result in results],
        **_spread(results),
    }
    if "transfer" in results[0]:
        rows = _transfer_rows(run.config, [result["transfer"] for result in results])
        values["transfer"] = rows
        if len(rows) == 1 and rows[0]["test_std"] is None:
            values |= {name: None for name in values if name.endswith("_std")}
    for name in (
        "num_labels",
        "eval_split",
        "encoder_sha256_before",
        "encoder_sha256_after",
        "projection_head_sha256",
    ):
        if name in results[0] and len({result[name] for result in results}) == 1:
            values[name] = results[0][name]
    if run.config.repeats.compare_with:
        found = [result.get("comparisons") or [result["comparison"]] for result in results]
        values["comparisons"] = [comparison for of_seed in found for comparison in of_seed]
    run.write_json("data.json", parts[0].read_json("data.json"))
    rates, seconds = zip(
        *((r["images_per_second"] or 0.0, r["wall_seconds"] or 0.0) for r in results), strict=True
    )
    outcome.conclude(
        run,
        results[0]["steps"],
        Speed(float(np.mean(rates)), float(sum(seconds))),
        num_eval_examples=results[0]["num_eval_examples"],
        **values,
    )
