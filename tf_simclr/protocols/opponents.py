"""--compare_with: an evaluation's predictions against another run's, by paired tests (App. B.8)."""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.paper_transfer import paper_dataset
from tf_simclr.evaluation.significance import compare_predictions
from tf_simclr.protocols import datasets
from tf_simclr.reports.run_report import write_run_report
from tf_simclr.runs.folder import RunFolder

Opponents = dict[str, epath.Path]
"""The predictions to compare with, by data set."""


def find(config: Config) -> Opponents:
    """What --compare_with means for each data set: predictions of the same seed in it, else its own.

    Raises:
        UsageError: it has no predictions.
    """
    if not config.comparison.compare_with:
        return {}
    files = datasets.prediction_files(config)
    folder = epath.Path(config.comparison.compare_with)
    for candidate in (folder / f"seed_{config.run.seed}", folder):
        if all((candidate / file).exists() for file in files.values()):
            return {dataset: candidate / file for dataset, file in files.items()}
    raise UsageError(
        f"--compare_with={folder}: no {' and '.join(files.values())} in it or in its seed_{config.run.seed}; "
        "give the run folder of a finished evaluation of the same data"
    )


def compare(run: RunFolder, result: dict[str, Any], opponents: Opponents) -> dict[str, Any]:
    """`result` with `comparison` (`comparisons` of several data sets), in result.json and report.html too."""
    if not opponents:
        return result
    found = [_comparison(run, dataset, opponent) for dataset, opponent in opponents.items()]
    result = {**result, **({"comparison": found[0]} if len(found) == 1 else {"comparisons": found})}
    run.write_json("result.json", result)
    write_run_report(run.path)
    return result


def _comparison(run: RunFolder, dataset: str, opponent: epath.Path) -> dict[str, Any]:
    """The paired tests of one data set, by the metric of its row; accuracy for VOC, not mAP (App. B.8)."""
    known = paper_dataset(dataset)
    by_class = known is not None and known.metric == "mean_per_class"
    metric: Any = "mean_per_class" if by_class else "top1"
    found = compare_predictions(run.path / datasets.prediction_files(run.config)[dataset], opponent, metric)
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
