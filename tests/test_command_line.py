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

from tf_simclr import cli, pretrain
from tf_simclr.__main__ import commands
from tf_simclr.config import Config, flags
from tf_simclr.runs import build

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(commands().keys() - {"export"})
ROOMS = [
    {"chatter", "errors", "image_size"},
    {"progress", "files", "lookup", "options", "shipped", "streams"},
    {"replicas", "data", "optimizers", "control"},
    {"augment"},
    {"objectives", "networks"},
    {"methods"},
    {"models"},
    {"config"},
    {"devices"},
    {"official"},
    {"evaluation"},
    {"reports"},
    {"inputs"},
    {"runs"},
    {"training"},
    {"protocols"},
    {"checks", "reproduction"},
    {"cli"},
    {"__main__"},
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


@pytest.mark.parametrize("module", [f"tf_simclr.{command}" for command in COMMANDS] + ["export"])
def test_help_answers_without_tensorflow(module: str) -> None:
    began = time.perf_counter()
    done = run("-X", "importtime", "-m", module, "--help")
    assert time.perf_counter() - began < 2
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\| *tensorflow$", done.stderr, flags=re.MULTILINE)
    assert re.search(r"--(checkpoint|source|table|environment|output_dir)\b", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrain", "--image_sise=3"], "image_sise"),
        (["pretrain", "--model_dir=x"], "--dataset is required"),
        (["pretrain", "--dataset=digits"], "--model_dir is required"),
        (["pretrain", "--color_jitter_strength=3"], "--color_jitter_strength"),
        (["pretrain", "--learning_rate=nan"], "--learning_rate=nan"),
        (["pretrain", "--cache_dir=x"], "--cache_dataset"),
        (["pretrain", "--feed=device", "--data_service=grpc://a:1"], "--feed=device"),
        (["pretrain", "--profile_steps=3"], "--profile_steps=3"),
        (
            ["pretrain", "--dataset=digits", "--model_dir=x", "--probe_dataset=digits"],
            "--probe_dataset=digits goes with --probe_epochs",
        ),
        (["finetune", "--dataset=digits", "--model_dir=x", "--augmentations=color"], "--augment=simclr"),
        (["finetune", "--dataset=digits", "--model_dir=x", "--one_branch"], "--one_branch"),
        (["transformation_probe", "--transformations=crop"], "--transformations=crop: give color, rotation"),
        (["linear_eval", "--seeds=1,b"], "--seeds=1,b"),
        (["linear_eval", "--seeds=1,1"], "--seeds=1,1"),
        (["linear_eval", "--seeds=1,01"], "--seeds=1,01"),
        (["transfer", "--datasets=dtd,dtd"], "--datasets=dtd,dtd"),
        (["embed", "--layer=x"], "--layer=x"),
        (["pretrain", "--method=clip", "--caption_templates=a photo"], "--caption_templates=a photo"),
        (["evaluate", "--dataset=digits", "--model_dir=x"], "--checkpoint is required"),
        (["distill", "--dataset=digits", "--model_dir=x"], "--teacher is required"),
        (["distill", "--teacher=/no/such", "--model_dir=x"], "--teacher=/no/such"),
        (["distill", "--distillation_temperature=0"], "--distillation_temperature=0"),
        (["distill", "--label_weight=1.5"], "--label_weight=1.5"),
        (["predict", "--dataset=digits", "--output=x.csv"], "--checkpoint or --export is required"),
        (["predict", "--export=x", "--checkpoint=y"], "--checkpoint and --export"),
        (["predict", "--export=/no/such"], "--export=/no/such"),
        (["predict", "--top_k=0"], "--top_k=0"),
        (["record", "--environment=CartPole-v1"], "--frames_dir is required"),
        (["record", "--episode_steps=2"], "--episode_steps=2"),
        (["state_probe", "--states=x", "--model_dir=x"], "--dataset is required"),
        (["finetune", "--sweep_learning_rates=,"], "--sweep_learning_rates"),
        (["knn", "--checkpoint=/no/such"], "/no/such"),
        (["transfer", "stray"], "stray"),
        (["pretrain", "--image_size=100000"], "--image_size=100000: must be at most 4096"),
    ],
)
def test_mistakes_take_less_than_two_seconds(arguments: list[str], words: str) -> None:
    began = time.perf_counter()
    done = run("-m", f"tf_simclr.{arguments[0]}", *arguments[1:])
    assert time.perf_counter() - began < 2
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize("module", ["tf_simclr.pretrain", "export"])
def test_a_reader_that_has_gone_is_no_error(module: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(
            command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141 if module == "export" else 0, "")


def test_ctrl_c_outside_of_training_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: Config) -> None:
        raise KeyboardInterrupt

    assert cli.main(pretrain.COMMAND, interrupted, ["--dataset=digits", "--model_dir=x"]) == 130
    assert capsys.readouterr().err == "pretrain: interrupted\n"


def test_nothing_stands_between_a_misfit_and_its_table(tmp_path: Path) -> None:
    """TensorFlow is imported for the table; 2.21 says something on it, whatever it is told."""
    stored = Config("pretrain").replace(dataset="digits", image_size=8, resnet_depth=18)
    (tmp_path / "config.json").write_text(stored.to_json())
    done = run("-m", "tf_simclr.knn", f"--checkpoint={tmp_path}", "--resnet_depth=34")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0].startswith("knn: --checkpoint=")
    assert [line for line in lines[1:] if not line.startswith("  ")] == []


def test_an_install_asks_for_what_requirements_pin() -> None:
    text = (ROOT / "requirements.txt").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pinned = [line for line in lines if line and not line.startswith("-")]
    block = re.search(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert block
    stated = [line.strip().strip(",").strip("'") for line in block.group(1).splitlines()]
    assert stated == pinned


@pytest.mark.parametrize("stem", ["auto", "cifar"])
def test_a_stem_that_is_the_checkpoints_is_no_contradiction(stem: str, tmp_path: Path) -> None:
    stored = Config("pretrain").replace(dataset="digits", image_size=16)
    (tmp_path / "config.json").write_text(stored.to_json())
    arguments = [f"--checkpoint={tmp_path}", f"--stem={stem}", "--model_dir=x"]
    command = importlib.import_module("tf_simclr.knn").COMMAND
    _, config = flags.parse(command, arguments)
    assert config.stem == "cifar"


SETS = {"paper", "paper_gpu", "paper_cpu"}  # rows of tables; tests/reproduction reads them
FLAGFILES = [path for path in (ROOT / "flags").rglob("*.cfg") if not SETS & set(path.parts)]


@pytest.mark.parametrize("path", sorted(FLAGFILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_flagfiles_parse_by_their_command_and_cite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = path.read_text()
    for heading in ("Command:", "Hardware:", "Expected:"):
        assert heading in text
    stated = re.search(r"python -m tf_simclr\.(\w+) .*", text)
    assert stated, "a flagfile states its command"
    assert f"--flagfile={path.relative_to(ROOT)}" in stated.group(0)
    assert re.search(
        r"App\. [AB]|Sec\. \d|Table|Fig\.|authors' README|arXiv:\d{4}\.\d{5}|2006\.10029", text
    ), "a citation"
    assert re.search(r"Expected:.*?(figures?\b|paper|README)", text, flags=re.DOTALL), "whose figure it is"
    arguments = [
        a for a in shlex.split(stated.group(0))[3:] if not a.startswith(("--checkpoint=", "--teacher="))
    ]
    command = importlib.import_module(f"tf_simclr.{stated.group(1)}").COMMAND
    _, config = flags.parse(command, arguments)
    assert config.data.dataset or config.transfers.datasets
    if "augmentation" in command.groups:
        build.augmentations(config)
        config.method.check(config.optimization.train_batch_size)


def test_imports_run_one_way() -> None:
    """A room imports itself and lower ones, a command anything; only commands, cli and config see flags."""
    height = {name: level for level, names in enumerate(ROOMS) for name in names}
    for path in (ROOT / "tf_simclr").rglob("*.py"):
        own = path.relative_to(ROOT / "tf_simclr").parts[0].removesuffix(".py")
        assert own in height or own in COMMANDS or own == "__init__", f"{path}: no room of ROOMS"
        for imported in _imports(path):
            assert not (imported.startswith("absl") and own in height and own != "config"), path
            part = imported.split(".")[1] if imported.startswith("tf_simclr.") else ""
            if own in height and part:
                assert part not in COMMANDS, f"{path} imports a command"
                assert height[part] < height[own] or part == own, f"{path} imports {imported}"


def test_no_module_imports_itself_in_a_circle() -> None:
    paths = {_module(path): path for path in (ROOT / "tf_simclr").rglob("*.py")}
    waiting = {
        name: {found for one in _imports(path) for found in (one, one.rpartition(".")[0]) if found in paths}
        - {name, *(name.rsplit(".", up)[0] for up in range(1, name.count(".") + 1))}
        for name, path in paths.items()
    }
    while free := {name for name, needs in waiting.items() if not needs}:
        waiting = {name: needs - free for name, needs in waiting.items() if name not in free}
    assert not waiting


def test_no_room_holds_more_than_a_sixth_of_the_lines() -> None:
    lines: dict[str, int] = {}
    for path in (ROOT / "tf_simclr").rglob("*.py"):
        room = path.relative_to(ROOT / "tf_simclr").parts[0]
        lines[room] = lines.get(room, 0) + path.read_text().count("\n")
    assert max(lines.values()) < sum(lines.values()) / 6, lines


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
