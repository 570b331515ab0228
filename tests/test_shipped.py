"""Flagfiles by name from any directory, the console command, and which Python `make` takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_command_line import COMMANDS, _imports
from tf_simclr import pretrain
from tf_simclr.__main__ import commands
from tf_simclr.config import Config, flags
from tf_simclr.reproduction import tables

ROOT = Path(__file__).resolve().parent.parent


def parse(*arguments: str) -> Config:
    return flags.parse(pretrain.COMMAND, arguments)[1]


@pytest.mark.parametrize("name", ["digits/pretrain_moco.cfg", "flags/digits/pretrain_moco.cfg"])
def test_a_shipped_flagfile_and_what_it_nests_are_found_from_any_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    here = parse("--flagfile=flags/digits/pretrain_moco.cfg")
    monkeypatch.chdir(tmp_path)
    assert here.data.dataset == "digits"  # of methods.cfg, which it nests
    assert parse(f"--flagfile={name}") == parse("--flagfile", name) == here


def test_a_file_in_the_working_directory_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "methods.cfg").write_text("--dataset=cifar10\n")
    monkeypatch.chdir(tmp_path)
    assert parse("--flagfile=digits/methods.cfg").data.dataset == "cifar10"
    assert parse("--flagfile=flags/digits/methods.cfg").data.dataset == "digits"


def test_a_shipped_table_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (short,), (long,) = tables.read("paper_cpu/table5"), tables.read("flags/paper_cpu/table5")
    assert short.rows == long.rows
    assert short.rows


def test_the_console_command_lists_every_command_without_tensorflow(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tf_simclr", "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=_with_root(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[2:])
    assert listed.keys() == {*COMMANDS, "export"} == commands().keys()
    assert listed["pretrain"] == pretrain.COMMAND.summary
    assert listed["export"].startswith("SavedModels")
    assert "| tensorflow\n" not in done.stderr.replace("  ", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pretrain", "--image_sise=3"], 2, "pretrain: Unknown command line flag 'image_sise'"),
        (["pretrian"], 2, "tf-simclr: 'pretrian' is none of distill, doctor"),
        (["errors"], 2, "tf-simclr: 'errors' is none of"),
        (["export"], 2, "export: give --checkpoint and --output_dir"),
    ],
)
def test_the_console_command_is_python_m(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tf_simclr", *arguments],
        cwd=tmp_path,
        env=_with_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert words in done.stderr


def test_no_module_of_the_exports_says_the_name_that_only_a_clone_has() -> None:
    for path in (ROOT / "export").glob("*.py"):
        named = [name for name in _imports(path) if name.split(".")[0] == "export"]
        assert not named, f"{path} imports {named}: installed it is tf_simclr_export, so `from . import`"


@pytest.mark.parametrize(
    ("answers", "taken"),
    [
        ({"python3": "3.12.4", "python3.11": "3.11.2"}, "python3"),
        ({"python3": "3.9.2", "python": "3.13.1", "python3.11": "3.11.2"}, "python"),
        ({"python3": "3.14.0", "python3.10": "3.10.9"}, "python3.10"),
        ({"python3": "2.7.18"}, None),
    ],
)
def test_make_takes_the_active_python_and_says_so(
    answers: dict[str, str], taken: str | None, tmp_path: Path
) -> None:
    for name, version in answers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho Python {version}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", ROOT / ".ci" / "find_python"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if taken is None:
        assert (done.returncode, done.stdout) == (1, "")
        return
    assert done.stdout == f"{tmp_path / taken}\n"
    assert f"with Python {answers[taken]}, {tmp_path / taken}" in done.stderr


def _with_root() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
