"""What `benchmarks/on_gpu.sh` left in a folder, as Markdown: its parts, ratios, rooflines and accuracies.

python -m benchmarks.summary --parts=FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags

from tf_simclr.reports import markdown

PARTS = flags.DEFINE_string("parts", None, "folder of the parts", required=True)
_ENDS = {0: "done", 124: "OUT OF TIME", 137: "OUT OF TIME"}


def parts(folder: Path) -> Iterator[list[str]]:
    """Of each part: its name, how it ended, its seconds, and what it found."""
    for file in sorted(folder.glob("*.part"), key=lambda file: file.stat().st_mtime):
        status, seconds = map(int, file.read_text().split())
        found = "; ".join(said(folder, file.stem))
        yield [file.stem, _ENDS.get(status, f"FAILED ({status})"), f"{seconds} s", found]


def said(folder: Path, name: str) -> Iterator[str]:
    """The figures of a run's result.json, or the last line of the log."""
    result = folder / name / "result.json"
    if result.exists():
        content = json.loads(result.read_text())
        for key in ("steps", "images_per_second", "top1"):
            if content.get(key) is not None:
                yield f"{key} {content[key]:,.5g}"
    elif not (folder / f"{name}.json").exists():
        lines = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        yield lines[-1] if lines else ""


def ratios(content: dict[str, Any]) -> Iterator[list[str]]:
    """A row a claim of a benchmark."""
    for contest in content["contests"]:
        for claim in contest["claims"]:
            yield [contest["subject"], f"{claim['faster']} / {claim['slower']}", f"{claim['ratio']:.2f}"]


def rates(content: dict[str, Any]) -> Iterator[list[str]]:
    """A row a contestant: the rate of its median round."""
    for contest in content["contests"]:
        for name, seconds in contest["seconds"].items():
            median = sorted(seconds)[len(seconds) // 2]
            yield [contest["subject"], name, f"{contest['amount'] / median:,.0f} {contest['unit']}/s"]


def page(folder: Path) -> list[str]:
    benchmarks = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    places = {", ".join(one["machine"]["gpus"]) or "no GPU" for one in benchmarks}
    lines = [f"# {'; '.join(sorted(places)) or 'no benchmark'}", ""]
    lines += markdown.table(["part", "end", "took", "found"], list(parts(folder)))
    for title, rows in (("ratio", ratios), ("rate", rates)):
        found = [row for one in benchmarks for row in rows(one)]
        lines += ["", *markdown.table(["subject", "what", title], found)] if found else []
    rooflines = [pair for one in benchmarks for pair in one.get("rooflines", {}).items()]
    cells = [
        [
            name,
            f"{r['flop_a_second'] / 1e12:.3g}",
            r["dtype"],
            f"{r['bytes_a_second'] / 1e9:.4g}",
            r["bound_by"],
        ]
        for name, r in rooflines
    ]
    head = ["roofline of", "TFLOP/s", "of", "GB/s", "bound by"]
    return [*lines, "", *markdown.table(head, cells)] if cells else lines


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or not Path(PARTS.value).is_dir():
        raise app.UsageError(f"--parts={PARTS.value}: give the folder that benchmarks/on_gpu.sh wrote")
    print("\n".join(page(Path(PARTS.value))))


if __name__ == "__main__":
    app.run(main)
