"""gymnasium is optional: where it is missing one line says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tf_simclr import cli, record


def test_without_gymnasium_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    arguments = ["--environment=CartPole-v1", f"--frames_dir={tmp_path / 'f'}"]
    assert cli.main(record.COMMAND, record.record, arguments) == 2
    said = capsys.readouterr().err
    assert said == (
        "record: --environment=CartPole-v1: needs gymnasium: pip install -r requirements-control.txt\n"
    )
