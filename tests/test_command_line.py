"""What a user meets first: fast help, fast and clear mistakes, one-way imports, flagfiles that parse."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tf_simclr import flag_definitions

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["pretrain", "linear_eval", "finetune", "evaluate", "knn", "label_efficiency", "import_official"]
COMMANDS += ["transfer", "embed"]
LAYERS = [
    {"errors"},
    {"config"},
    {"flag_definitions"},
    {"data", "augment", "objectives", "optimizers"},
    {"models"},
    {"official"},
    {"evaluation"},
    {"reports"},
    {"training"},
    {"cli"},
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_without_tensorflow(command: str) -> None:
    script = (
        f"import sys; from tf_simclr import {command} as c; code = c.main(['--help']);"
        "sys.exit(code or 'tensorflow' in sys.modules)"
    )
    done = run("-c", script)
    assert done.returncode == 0, done.stderr
    assert "--dataset" in done.stdout
    assert "--model_dir" in done.stdout


def test_help_and_mistakes_take_less_than_two_seconds() -> None:
    began = time.perf_counter()
    done = run("-m", "tf_simclr.pretrain", "--image_sise=3")
    assert time.perf_counter() - began < 2
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "image_sise" in done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "flags").rglob("*.cfg")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_flagfiles_parse_by_their_command_and_cite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = path.read_text()
    for heading in ("Command:", "Hardware:", "Expected:"):
        assert heading in text
    stated = re.search(r"python -m tf_simclr\.(\w+) .*", text)
    assert stated, "a flagfile states its command"
    assert f"--flagfile={path.relative_to(ROOT)}" in stated.group(0)
    arguments = [a for a in shlex.split(stated.group(0))[3:] if not a.startswith("--checkpoint=")]
    command = importlib.import_module(f"tf_simclr.{stated.group(1)}").COMMAND
    _, config = flag_definitions.parse(command, arguments)
    assert config.data.dataset or config.transfers.datasets


def test_imports_run_one_way() -> None:
    """A layer imports itself and lower ones; commands import anything; only they and cli see flags."""
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    for path in (ROOT / "tf_simclr").rglob("*.py"):
        own = path.relative_to(ROOT / "tf_simclr").parts[0].removesuffix(".py")
        for imported in _imports(path):
            assert not (imported.startswith("absl") and own in height and own != "flag_definitions"), path
            part = imported.split(".")[1] if imported.startswith("tf_simclr.") else ""
            if own in height and part in height:
                assert height[part] <= height[own], f"{path} imports {imported}"
            assert not (own in height and part in COMMANDS), f"{path} imports a command"


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
