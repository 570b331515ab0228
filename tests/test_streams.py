"""What is printed to a pipe that nobody reads is lost, what C++ says for information too; nothing else is."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tf_simclr import chatter

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


SAYS = """
import os, sys
from tf_simclr.streams import without_chatter
def say(text):
    os.write(2, text.encode())
with without_chatter():
    say("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
    say("I0000 00:00:1795871139.628744   12939 device_compiler.h:186] Compiled cluster using XLA!\\n")
    say("I0000 00:00:1795871152.602731 ")
    say("13581 port.cc:153] oneDNN custom operations are on.\\n")
    say("E0000 00:00:1795871152.602731   13581 cuda_dnn.cc:8] no memory\\nIn all, ")
    print("ours", file=sys.stderr)
    say("three\\n")
    os.system("echo 'I0000 00:00:1.2 3 child.cc:4] started' >&2; echo 'from a child' >&2")
    say("F0000 00:00:1795871152.602731   13581 fatal.cc:8] gone\\nW")
    END
"""
HEARD = """In all, three
from a child
E0000 00:00:1795871152.602731   13581 cuda_dnn.cc:8] no memory
F0000 00:00:1795871152.602731   13581 fatal.cc:8] gone
ours"""


@pytest.mark.parametrize(
    ("end", "code"), [("pass", 0), ("os.abort()", -signal.SIGABRT), ("os.kill(os.getpid(), 9)", -9)]
)
def test_information_is_dropped_and_errors_get_through_a_crash(end: str, code: int) -> None:
    done = says(SAYS.replace("END", end), level="3")
    assert done.returncode == code
    assert done.stderr.endswith("W")
    assert sorted(done.stderr[:-1].splitlines()) == sorted(HEARD.splitlines())


def test_whoever_asks_for_everything_gets_it() -> None:
    assert "device_compiler.h" in says(SAYS.replace("END", "pass"), level="0").stderr


def test_what_python_says_still_goes_to_the_terminal() -> None:
    ours, theirs = pty.openpty()
    talk = "import sys; from tf_simclr.streams import without_chatter as w\n"
    talk += "with w(): sys.exit(not sys.stderr.isatty())"
    done = subprocess.run([sys.executable, "-c", talk], cwd=ROOT, stderr=theirs, check=False)
    for end in (ours, theirs):
        os.close(end)
    assert done.returncode == 0


def says(program: str, level: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": level},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "line",
    [
        b"Iteration 3 of 5 begins [x]\n",
        b"I have 3 wishes: a]\n",
        b"W0000 00:00:1.2 3 gpu.cc:1] slow\n",
        b"WARNING: All your images are black\n",
        b"2026-11-28 13:00:00: I tensorflow/core/x.cc:1] words\n",
    ],
)
def test_what_only_looks_like_information_is_shown(line: bytes) -> None:
    assert not chatter.is_chatter(line)
    lines = chatter.Lines()
    assert b"".join([*(lines.let_through(line[i : i + 1]) for i in range(len(line))), lines.rest()]) == line
