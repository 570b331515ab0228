"""How a run ends: result.json, report.html and the summary line."""

from __future__ import annotations

import time
from typing import Any

from tf_simclr.inputs import bad_images
from tf_simclr.reports import summaries
from tf_simclr.reports.run_report import write_run_report
from tf_simclr.runs import ledger
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training.fit import Speed

MUCH = 2.0  # points between top-1 and balanced accuracy


def conclude(run: RunFolder, steps: int, speed: Speed | None = None, **values: Any) -> dict[str, Any]:
    """Writes result.json, report.html and TensorBoard's summaries, prints the summary line.

    Returns what result.json says. The folder is free for another process from then on.
    """
    if speed is None:  # an evaluation: its time is all that has passed, loading included
        seconds = time.perf_counter() - run.opened
        speed = Speed(values["num_eval_examples"] / seconds, seconds)
    recorded = ledger.figures(run.path, run.config, steps)
    recorded["bad_images"] = bad_images.write(run.path, run.config.run.model_dir)
    result = run.write_result(steps=steps, **_timing(run, speed), **values, **recorded)
    report = write_run_report(run.path)
    summaries.write(run.path, result)
    run.release()
    print(f"{run.config.command}: {_summary(result)}; {report}")
    return result


def speed_of(result: dict[str, Any]) -> Speed:
    """The speed that a result states; zeros where it states none."""
    return Speed(result["images_per_second"] or 0.0, result["wall_seconds"] or 0.0)


def _timing(run: RunFolder, speed: Speed) -> dict[str, float | None]:
    if not speed.wall_seconds:  # nothing was left to train: keep what training measured
        kept = run.read_json("result.json")
        return {name: kept.get(name) for name in ("images_per_second", "wall_seconds")}
    return {
        "images_per_second": round(speed.images_per_second, 1),
        "wall_seconds": round(speed.wall_seconds, 1),
    }


def _summary(result: dict[str, Any]) -> str:
    if result["top1"] is None:
        summary = f"{result['steps']:,} steps done"
    else:
        summary = f"top-1 {result['top1']:.2f} %{_balanced(result)} on {result['num_eval_examples']:,} images"
    if result.get("top1_std") is not None:
        summary += f", ± {result['top1_std']:.2f} over {len(result['seeds'])} seeds"
    if result["bad_images"]:
        summary += f"; {result['bad_images']:,} bad images ({bad_images.NAME})"
    return summary


def _balanced(result: dict[str, Any]) -> str:
    """Balanced accuracy, the mean over classes, where top-1 alone would mislead."""
    balanced = result.get("mean_per_class")
    if balanced is None or abs(balanced - result["top1"]) < MUCH:
        return ""
    return f" (balanced {balanced:.2f} %)"
