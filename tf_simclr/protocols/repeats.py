"""Error bars: an evaluation repeated over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config, stored
from tf_simclr.config.flags import Command
from tf_simclr.protocols import datasets, opponents, results
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.callbacks import Speed

Result = dict[str, Any]
SHARED = (
    "num_labels",
    "eval_split",
    "encoder_sha256_before",
    "encoder_sha256_after",
    "projection_head_sha256",
)


def over_seeds(
    config: Config,
    command: Command,
    once: Callable[[Config], Result],
    combine: Callable[[RunFolder, list[Result]], Result] | None = None,
) -> Result:
    """Runs `once`; with --seeds once a seed, in MODEL_DIR/seed_S, and concludes with mean and deviation.

    `combine` makes of the seeds' results what a command says besides.
    With --compare_with each run is compared with the same seed of the other, or with its only run.

    Raises:
        UsageError: a run to compare with that has no predictions.
    """
    if not config.repeats.seeds:
        return _compared(config, once)
    seeds = [int(seed) for seed in config.repeats.seeds.split(",")]
    run = RunFolder.open(config, command)
    parts = [_part(config, seed, run.path / f"seed_{seed}") for seed in seeds]
    for part in parts:
        opponents.find(part)  # a mistake is found before the first seed is trained
    per_seed = []
    for part in parts:
        tf.keras.backend.clear_session()
        per_seed.append(_compared(part, once))
    run.take_data(_folder(parts[0]))
    return _conclude(run, per_seed, combine(run, per_seed) if combine else {})


def _part(config: Config, seed: int, folder: epath.Path) -> Config:
    """A seed's run; one that had not begun is not extended but of the new length from the start."""
    extend = config.extension.extend and stored.holds_work(folder)
    return config.replace(seed=seed, seeds="", model_dir=str(folder), extend=extend)


def _compared(config: Config, once: Callable[[Config], Result]) -> Result:
    others = opponents.find(config)
    return opponents.compare(_folder(config), once(config), others)


def _folder(config: Config) -> RunFolder:
    return RunFolder(epath.Path(config.run.model_dir), config)


def _conclude(run: RunFolder, per_seed: list[Result], combined: Result) -> Result:
    first = per_seed[0]
    values: Result = {
        "dataset": first["dataset"],
        "seeds": [result["seed"] for result in per_seed],
        **_spread(per_seed),
        **combined,
    }
    if "transfer" in first:
        rows = _transfer_rows(run.config, [result["transfer"] for result in per_seed])
        values["transfer"] = rows
        if len(rows) == 1 and rows[0]["test_std"] is None:
            values |= {name: None for name in values if name.endswith("_std")}
    for name in SHARED:
        if name in first and len({result[name] for result in per_seed}) == 1:
            values[name] = first[name]
    if run.config.comparison.compare_with:
        found = [result.get("comparisons") or [result["comparison"]] for result in per_seed]
        values["comparisons"] = [comparison for of_seed in found for comparison in of_seed]
    speeds = [results.speed_of(result) for result in per_seed]
    speed = Speed(
        float(np.mean([one.images_per_second for one in speeds])),
        float(sum(one.wall_seconds for one in speeds)),
    )
    return results.conclude(
        run, first["steps"], speed, num_eval_examples=first["num_eval_examples"], **values
    )


def _spread(per_seed: list[Result]) -> Result:
    """Mean and deviation over the seeds of each figure that they all have."""
    values: Result = {}
    for name in ("top1", "top5", "mean_per_class"):
        figures = [result.get(name) for result in per_seed]
        if (mean := _mean(figures)) is not None:
            values |= {name: mean, f"{name}_std": deviation(figures)}
    if "top1" in values:
        values["per_seed"] = [result["top1"] for result in per_seed]
    return values


def _mean(figures: list[Any]) -> float | None:
    """None where a seed has no such figure."""
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if len(known) == len(figures) else None


def deviation(figures: list[Any]) -> float | None:
    """With n - 1; one seed has none."""
    return float(np.std(figures, ddof=1)) if len(figures) > 1 else None


def _transfer_rows(config: Config, per_seed: list[list[Result]]) -> list[Result]:
    """A row a data set: means over the seeds, the test figure's deviation, and what each seed had.

    Where no seed decides anything there is no deviation.
    """
    rows = []
    for one_set, *same in zip(datasets.configs(config), *per_seed, strict=True):
        row, tests = dict(same[0]), [one["test"] for one in same]
        for name in ("test", "validation", "top1", "top5"):
            row[name] = _mean([one[name] for one in same])
        row |= {
            "test_std": deviation(tests) if datasets.drawn_by_seed(one_set) else None,
            "per_seed": tests,
            "l2": [one["l2"] for one in same],
        }
        row["converged"] = all(one["converged"] for one in same)
        spread = "" if row["test_std"] is None else f" ± {row['test_std']:.2f}"
        print(f"{row['dataset']}: {row['metric']} {row['test']:.2f}{spread} %")
        rows.append(row)
    return rows
