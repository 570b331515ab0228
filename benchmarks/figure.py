"""The ratios of all benchmarks as bars beside what was asked for: docs/performance.png.

python -m benchmarks.figure --results=runs/bench --output=docs/performance.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from absl import app, flags
from matplotlib import pyplot as plt

RESULTS = flags.DEFINE_string("results", "runs/bench", "folder of the benchmarks' JSON files")
OUTPUT = flags.DEFINE_string("output", "docs/performance.png", "PNG to write")


def claims_of(folder: Path) -> list[dict[str, Any]]:
    """Every claim of every benchmark, with its subject."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise app.UsageError(f"--results={folder}: no JSON files here; `make bench` writes them")
    return [
        {**claim, "subject": contest["subject"]}
        for file in files
        for contest in json.loads(file.read_text())["contests"]
        for claim in contest["claims"]
    ]


def draw(claims: list[dict[str, Any]], path: str) -> None:
    """A bar a claim, and a mark where the claim begins to hold."""
    mpl.use("Agg")
    labels = [f"{claim['subject']}\n{claim['faster']} / {claim['slower']}" for claim in claims]
    rows = range(len(claims))[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.62 * len(claims) + 1.2), layout="constrained")
    bars = axes.barh(rows, [claim["ratio"] for claim in claims], height=0.55, color="#3b6ea5")
    axes.bar_label(bars, fmt=" %.2f", fontsize=8)
    asked = [(claim["factor"], row) for claim, row in zip(claims, rows, strict=True) if claim["factor"]]
    axes.scatter(
        *zip(*asked, strict=True), marker="|", s=260, linewidths=2, color="#d1495b", label="asked for"
    )
    axes.axvline(1.0, color="0.6", linewidth=0.8)
    axes.set_yticks(list(rows), labels, fontsize=7.5)
    axes.set_xlabel("times as fast (medians of turns in one run)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    draw(claims_of(Path(RESULTS.value)), OUTPUT.value)
    print(OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
