"""A checkpoint of the authors' that is damaged anywhere is read, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from official_files import random_parts, tf1_names, write_saved_model, write_tf1, write_tf2

from tests.damage import Outcomes, damaged
from tf_simclr import import_official
from tf_simclr.config import Config
from tf_simclr.official.source import OfficialCheckpoint

FUZZ = {"database": None, "deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind: tf1/, tf2/ and saved_model/."""
    folder = tmp_path_factory.mktemp("theirs")
    parts = random_parts({"depth": 18, "width_multiplier": 0.03125, "stem": "cifar"}, {"out_dim": 4}, 3)
    write_tf1(folder / "tf1" / "model.ckpt-3", tf1_names(parts))
    (folder / "tf1" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    write_tf2(folder / "tf2" / "ckpt-3", parts)
    write_saved_model(folder / "saved_model", parts)
    return folder


def read_whole(source: str) -> None:
    """All that importing reads and concludes, without a model."""
    opened = OfficialCheckpoint(source)
    import_official.complete(Config("import_official").replace(source=source), opened)
    opened.step()
    for part in opened.weights.parts().values():
        for variable in part.variables():
            opened.read(variable.name)


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_one_line(sources: Path, tmp_path: Path) -> None:
    outcomes = Outcomes()
    files = sorted(path.relative_to(sources) for path in sources.rglob("*") if path.is_file())

    @settings(max_examples=400, **FUZZ)
    @given(data=st.data(), name=st.sampled_from(files))
    def one(data: st.DataObject, name: Path) -> None:
        source = tmp_path / name.parts[0]
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(sources / name.parts[0], source)
        (tmp_path / name).write_bytes(data.draw(damaged((sources / name).read_bytes())))
        outcomes.add(lambda: read_whole(str(source)))

    one()
    outcomes.require(400, 40, named=lambda line: f"--source={tmp_path}" in line)


def test_a_damaged_file_leaves_no_run_folder(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "tf1"
    shutil.copytree(sources / "tf1", source)
    (data,) = source.glob("*.data-*")
    data.write_bytes(data.read_bytes()[:-100])
    assert import_official.main([f"--source={source}", f"--model_dir={tmp_path / 'run'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"import_official: --source={source} cannot be read")
    assert not (tmp_path / "run").exists()
