"""Error bars: an evaluation repeated over seeds, and its predictions compared with another run's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.paper_transfer import paper_dataset
from tf_simclr.evaluation.significance import compare_predictions
from tf_simclr.flag_definitions import Command
from tf_simclr.training import outcome
from tf_simclr.training.fit import Speed
from tf_simclr.training.run_folder import RunFolder

PREDICTIONS = "predictions.npz"


def over_seeds(config: Config, command: Command, once: Callable[[Config], None]) -> None:
    """Runs `once`; with --seeds once a seed, in MODEL_DIR/seed_S, and concludes with mean and deviation.

    With --compare_with each run is compared with the same seed of the other, or with its only run.

    Raises:
        UsageError: seeds that are no numbers, or a run to compare with that has no predictions.
    """
    seeds = _seeds(config.repeats.seeds)
    if not seeds:
        _once(config, once)
        return
    run = RunFolder.open(config, command)
    parts = [_of_seed(config, seed, run.path / f"seed_{seed}") for seed in seeds]
    for part in parts:
        _opponent(part)  # a mistake is found before the first seed is trained
    for part in parts:
        tf.keras.backend.clear_session()
        _once(part, once)
    _conclude(run, [RunFolder(epath.Path(part.run.model_dir), part) for part in parts])


def _once(config: Config, once: Callable[[Config], None]) -> None:
    opponent = _opponent(config)
    once(config)
    if opponent is not None:
        _compare(RunFolder(epath.Path(config.run.model_dir), config), opponent)


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        seeds = [-1]
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds={text}: give different whole numbers from 0 on, as in 0,1,2")
    return seeds


def _of_seed(config: Config, seed: int, folder: epath.Path) -> Config:
    return config.replace(seed=seed, seeds="", model_dir=str(folder))


def _opponent(config: Config) -> epath.Path | None:
    """The predictions that --compare_with means: the run's own, else those of the same seed in it."""
    if not config.repeats.compare_with:
        return None
    folder = epath.Path(config.repeats.compare_with)
    for candidate in (folder / f"seed_{config.run.seed}", folder):
        if (candidate / PREDICTIONS).exists():
            return candidate / PREDICTIONS
    raise UsageError(
        f"--compare_with={folder}: no {PREDICTIONS} in it or in its seed_{config.run.seed}; "
        "give the run folder of a finished evaluation"
    )


def _compare(run: RunFolder, opponent: epath.Path) -> None:
    """Adds `comparison` to result.json and prints it (App. B.8)."""
    known = paper_dataset(run.config.data.dataset)
    by_class = known is not None and known.metric == "mean_per_class"
    metric: Any = "mean_per_class" if by_class else "top1"
    found = compare_predictions(run.path / PREDICTIONS, opponent, metric)
    comparison = {"with": str(opponent.parent), "metric": metric, **dataclasses.asdict(found)}
    run.write_json("result.json", {**run.read_json("result.json"), "comparison": comparison})
    mcnemar = "" if found.p_mcnemar is None else f", McNemar p = {found.p_mcnemar:.3g}"
    print(
        f"{found.accuracy_a:.2f} % here against {found.accuracy_b:.2f} % in {opponent.parent}: "
        f"permutation p = {found.p_permutation:.3g}{mcnemar} "
        f"({found.only_a_right:,} right only here, {found.only_b_right:,} only there)"
    )


def _conclude(run: RunFolder, parts: list[RunFolder]) -> None:
    results = [part.read_json("result.json") for part in parts]
    top1 = [result["top1"] for result in results]
    values: dict[str, Any] = {
        "per_seed": top1,
        "seeds": [result["seed"] for result in results],
    }
    if None not in top1:
        values["top1"] = float(np.mean(top1))
        values["top1_std"] = float(np.std(top1, ddof=1)) if len(top1) > 1 else 0.0
    if None not in (top5 := [result["top5"] for result in results]):
        values["top5"] = float(np.mean(top5))
    for name in ("num_labels", "encoder_sha256_before", "encoder_sha256_after"):
        if name in results[0] and len({result[name] for result in results}) == 1:
            values[name] = results[0][name]
    if "comparison" in results[0]:
        values["comparisons"] = [result["comparison"] for result in results]
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
