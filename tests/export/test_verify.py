"""`--verify` passes what is whole and finds what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export import verify

ROOT = Path(__file__).resolve().parents[2]


def run_verify(*folders: Path, python: str = sys.executable, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a fresh process, with Keras as TensorFlow brings it unless `env` says otherwise."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [python, "-m", "export", *(f"--verify={folder}" for folder in folders)]
    return subprocess.run(
        command, cwd=ROOT, env={**clean, **env}, check=False, capture_output=True, text=True
    )


def failure(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """The line of the first failed check."""
    assert verify.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("FAIL" in line for line in lines) == 1
    return lines[-1]


@pytest.fixture
def broken(exports: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies an export, with some arrays of verification.npz changed."""

    def copy(model: str, **changes: Callable[[np.ndarray], np.ndarray]) -> Path:
        folder = tmp_path / model / "1000"
        shutil.copytree(exports / model / "1000", folder)
        with np.load(folder / "verification.npz") as stored:
            arrays = dict(stored)
        for name, change in changes.items():
            arrays[name] = change(arrays[name])
        np.savez(folder / "verification.npz", **arrays)
        return folder

    return copy


def test_each_export_passes_every_check_in_a_fresh_process(exports: Path):
    done = run_verify(*(exports / name for name in ("encoder", "projection_head", "classifier")))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("  ok  ") == 3 * len(verify.CHECKS)
    assert "neither tf_simclr nor keras_cv is imported" in done.stdout


def test_newer_tensorflow_and_keras_3(exports: Path):
    python = os.environ.get("TF_SIMCLR_NEWER_PYTHON", sys.executable)
    if sys.version_info < (3, 12) and python == sys.executable:
        pytest.skip("needs a Python with TensorFlow 2.16 or later: set TF_SIMCLR_NEWER_PYTHON")
    done = run_verify(exports / "encoder", exports / "classifier", python=python, TF_USE_LEGACY_KERAS="0")
    assert done.returncode == 0, done.stdout + done.stderr


def test_first_failure_ends_it(broken: Callable[..., Path], capsys):
    line = failure(capsys, broken("encoder", inference_1=lambda value: value + 1e-3))
    assert "FAIL  inference: " in line
    assert "differs by 1" in line


@pytest.mark.parametrize(
    ("array", "check"), [("training_1", verify.check_training), ("png_image", verify.check_bytes)]
)
def test_other_answers_fail(broken: Callable[..., Path], array: str, check: Callable[[verify.Export], str]):
    folder = broken("encoder", **{array: lambda value: value + 1e-3})
    with pytest.raises(verify.CheckFailed, match="differs by"):
        check(verify.load(folder))


def test_other_weights_fail(broken: Callable[..., Path], capsys):
    folder = broken("projection_head")
    (path,) = (folder / "variables").glob("variables.data*")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert "FAIL" in failure(capsys, folder)


def test_missing_class_name_fails(broken: Callable[..., Path]):
    folder = broken("classifier")
    (folder / "assets" / "class_names.txt").write_text("cat\n")
    with pytest.raises(verify.CheckFailed, match="1 lines for 3 logits"):
        verify.check_class_names(verify.load(folder))


def test_a_process_with_the_training_code_is_no_proof(exports: Path, capsys):
    line = failure(capsys, exports / "projection_head")
    assert "FAIL  independence: " in line
    assert "tf_simclr" in line


def test_largest_number_counts(tmp_path: Path):
    for number in ("9", "10", ".11-abc"):
        (tmp_path / number).mkdir()
        for name in verify.FILES:
            (tmp_path / number / name).touch()
    assert verify.resolve(str(tmp_path)) == tmp_path / "10"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_export_is_a_mistake(tmp_path: Path, capsys, make: Callable[[Path], None]):
    make(tmp_path / "here")
    assert verify.main([str(tmp_path / "here")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
