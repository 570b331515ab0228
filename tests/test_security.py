"""What docs/security.md says never runs: looked for in every file, and tried."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tf_simclr import lookup
from tf_simclr.data import open_source
from tf_simclr.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
FILES = [*(ROOT / "tf_simclr").rglob("*.py"), *(ROOT / "export").rglob("*.py")]
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "tensorflow_hub"}
CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "tf.keras.models.load_model", "yaml.load"}
LOADS = "tf.saved_model.load"


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_read_is_run(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not MODULES & set(imported(tree))
    for name, call in called(tree):
        arguments = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in CALLS, f"{name}, line {call.lineno}"
        assert arguments.get("allow_pickle", "False") == "False"  # NumPy's own default
        assert arguments.get("shell", "False") == "False"


def test_the_graphs_of_saved_models_are_loaded_in_two_places() -> None:
    """Both say before it that a graph is not known, if it is not."""
    found = {path.name for path in FILES for name, _ in called(ast.parse(path.read_text())) if name == LOADS}
    assert found == {"predictors.py", "verify.py"}


@pytest.mark.parametrize(
    "arguments",
    ["command=__import__('os')", "command=open('x')", "*[1]", "**{'a': 1}", "(lambda: 1)()", "a=b"],
)
def test_arguments_of_a_named_function_are_literals(arguments: str) -> None:
    with pytest.raises(UsageError, match="give NAME, MODULE:NAME"):
        lookup.parse("encoder", f"os:system({arguments})")


def test_a_csv_names_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "images", tmp_path / "outside.png"
    inside.mkdir()
    for path in (inside / "1.png", outside):
        Image.new("RGB", (8, 8)).save(path)
    labels = tmp_path / "labels.csv"
    for name in ("../outside.png", str(outside), "./../outside.png", "1.png/../../outside.png"):
        labels.write_text(f"1.png,cat\n{name},dog\n")
        with pytest.raises(UsageError, match="which is not an image in"):
            open_source(f"folder:{inside}", "train", labels_csv=str(labels))
