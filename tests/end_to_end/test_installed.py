"""The wheel: what is in it, and that it works in a fresh environment, away from the clone."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.small_runs import TINY
from tf_simclr.__main__ import commands

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as it is published: the source archive, and the wheel from that alone."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a fresh environment that has the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(own) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_the_package_its_flagfiles_and_nothing_called_export(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tf_simclr", "tf_simclr_export"}
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "tf_simclr").rglob("*.py")}
    exports = {f"tf_simclr_export/{path.name}" for path in (ROOT / "export").glob("*.py")}
    shipped = [path for path in (ROOT / "flags").rglob("*") if path.is_file()]
    flagfiles = {f"tf_simclr/flags/{path.relative_to(ROOT / 'flags')}" for path in shipped}
    assert {name for name in names if ".dist-info/" not in name} == package | exports | flagfiles


def test_the_wheel_pretrains_and_exports_from_another_directory(installed: Path, tmp_path: Path) -> None:
    command = installed / "tf-simclr"
    listed = run(command, cwd=tmp_path)
    assert all(f"\n{name}" in listed for name in commands())
    tiny = [f"--{name}={value}" for name, value in TINY.items()]
    run(command, "pretrain", "--flagfile=digits/pretrain.cfg", *tiny, "--model_dir=run", cwd=tmp_path)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["method"]["temperature"] == 0.5  # of digits/pretrain.cfg
    printed = run(command, "export", "--checkpoint=run", "--output_dir=out", cwd=tmp_path)
    assert "neither tf_simclr nor keras_cv is imported" in printed
    assert list((tmp_path / "out" / "encoder").glob("*/saved_model.pb"))
    run(installed / "python", "-c", "import export", cwd=tmp_path, code=1)
    where = run(installed / "python", "-c", "import tf_simclr; print(tf_simclr.__file__)", cwd=tmp_path)
    assert str(installed.parent) in where


def test_a_module_of_the_users_own_is_found_where_the_command_runs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dataclasses\n"
        "from tf_simclr.methods.simclr import SimCLR\n"
        "from tf_simclr.options import option\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Mine(SimCLR):\n"
        "    of_mine: float = option(1.0, 'an option of mine')\n"
    )
    helped = run(installed / "tf-simclr", "pretrain", "--method=mine:Mine", "--help", cwd=tmp_path)
    assert "--of_mine" in helped
