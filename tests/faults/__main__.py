"""Every fault of docs/reliability.md, and 100 kills; writes what came of them to the end of that page.

python -m tests.faults

Runs the tests that the page's tables name, then `tests.faults.kills`. Exit code 1, and a page left as it was,
when a test fails or is skipped, or anything of a killed run is lost.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from absl import app

from tests.faults import kills, reliability


def run_tests(names: Sequence[str]) -> Counter[str]:
    """How many cases passed, failed and were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-n", "2", "--dist", "worksteal", f"--junitxml={report}"]
        subprocess.run([sys.executable, "-m", "pytest", *options, *names], cwd=kills.ROOT, check=False)
        cases = ElementTree.parse(report).getroot().iter("testcase")
        return Counter("".join(child.tag for child in case) or "passed" for case in cases)


def main(_: Sequence[str]) -> int:
    began, text = time.monotonic(), reliability.PAGE.read_text()
    faults = list(reliability.rows(text))
    names = sorted({name for row in faults for name in row.tests})
    cases = run_tests(names)
    print(f"{len(faults)} faults, {len(names)} tests, cases: {dict(cases)}", flush=True)
    if set(cases) != {"passed"} or cases["passed"] < len(names):
        return 1
    outcomes = kills.run(kills.KILLS.value, Path(kills.OUTPUT.value))
    table = list(reliability.kills_table(outcomes))
    print(*table, f"{(time.monotonic() - began) / 60:.0f} minutes", sep="\n")
    if any(kills.is_damage(outcome) for outcome in outcomes.values()):
        return 1
    summary = (
        f"`make faults`: the {len(faults)} faults above are held by {len(names)} tests in {cases['passed']} "
        "cases, all passed. Then real commands were killed by SIGKILL at random times, also while saving, "
        "and started again; every run that came to its end was compared with one that nobody disturbed: the "
        "rows of its tables, and each weight, optimizer slot and exported tensor bit by bit."
    )
    reliability.PAGE.write_text(reliability.with_measured(text, [summary, "", *table]))
    return 0


if __name__ == "__main__":
    app.run(main)
