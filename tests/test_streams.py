"""What is printed to a pipe that nobody reads is lost, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TALKS = """
import sys
from tf_simclr.streams import lasting
with lasting():
    for number in range(5):
        print("table " * 10_000, flush=number % 2 == 0)
        print("progress", file=sys.stderr)
    open(sys.argv[1], "w").write("done")
    print("the last line")
"""


def test_work_goes_on_without_a_reader(tmp_path: Path) -> None:
    for closed in ("stdout", "stderr"):
        reading, writing = os.pipe()
        os.close(reading)
        others = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
        file = tmp_path / closed
        done = subprocess.run(
            [sys.executable, "-c", TALKS, str(file)], cwd=ROOT, text=True, check=False, **others
        )
        os.close(writing)
        assert done.returncode == 0
        assert file.read_text() == "done"
        assert not (done.stderr if closed == "stdout" else "").replace("progress\n", "")
        assert closed == "stdout" or done.stdout.endswith("the last line\n")
