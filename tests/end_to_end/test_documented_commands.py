"""Every command in README.md and docs/ is parsed against the real flags; README's Python runs."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from export import __main__ as export_main
from tf_simclr.__main__ import commands
from tf_simclr.config import flags

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"^ *```\w*\n(.*?)```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.search(r"\bpython -m |^tf-simclr |^make |^pip install ", line)]


CONTEST = (ROOT / "benchmarks" / "contest.py").read_text()
REQUIREMENTS = "".join(path.read_text() for path in ROOT.glob("requirements*.txt"))
COMMANDS = [(page.name, line) for page in PAGES for line in shell_lines(page)]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:60]}" for page, line in COMMANDS])
def test_the_command_is_known_with_its_flags(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words and words[0] == "tf-simclr" and words[1] != "--help":
        words[:2] = ["python", "-m", "export" if words[1] == "export" else commands()[words[1]]]
    if words[:2] == ["python", "-m"] and words[2].startswith("tf_simclr."):
        command = importlib.import_module(words[2]).COMMAND
        runs = ("--checkpoint=", "--teacher=", "--export=")
        flags.parse(command, [word for word in words[3:] if not word.startswith(runs)])
    elif words[:3] == ["python", "-m", "export"]:
        assert export_main.define_flags()(["export", *words[3:]])[1:] == []
    elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        known = (ROOT / f"{words[2].replace('.', '/')}.py").read_text() + CONTEST
        for word in words[3:]:
            assert f'"{word.lstrip("-").split("=")[0]}"' in known, word
    elif words[:2] == ["pip", "install"]:
        for file in re.findall(r"\S+\.txt", line):
            assert (ROOT / file).exists()
        for name, version in re.findall(r"([\w-]+)(?:\[[\w-]+\])?==([\d.]+)", line):
            assert f"{name}=={version}" in REQUIREMENTS
    elif words and words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_is_left_to_fill_in(page: Path) -> None:
    assert "@@" not in page.read_text()


def test_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    for name in commands():
        assert f"`python -m {'export' if name == 'export' else f'tf_simclr.{name}'}`" in text


@pytest.mark.slow
def test_readmes_python_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    code += "\nassert h.shape == (8, 128), h.shape\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
