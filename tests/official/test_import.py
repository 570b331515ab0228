"""Importing: the same outputs from the run folder, for every kind of file and architecture."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official_files import (
    Parts,
    outputs,
    random_parts,
    tf1_names,
    write_saved_model,
    write_tf1,
    write_tf2,
)

from export.__main__ import main as export_main
from tf_simclr import evaluate, import_official
from tf_simclr.runs.loading import LoadedRun, load_run

TINY = {"depth": 18, "width_multiplier": 0.0625, "stem": "cifar"}
CASES = {
    "cifar": (TINY, {"num_layers": 2, "out_dim": 6}, 10),
    "34_imagenet_se": ({"depth": 34, "width_multiplier": 0.125, "se_ratio": 0.25}, {"num_layers": 3}, 0),
    "18_resnet_d": ({"depth": 18, "width_multiplier": 0.3, "sk_ratio": 0.0625}, {"mode": "linear"}, 1001),
    "50_without_head": ({"depth": 50, "width_multiplier": 0.0625}, None, 1000),
    "50_sk_se": (
        {"depth": 50, "width_multiplier": 0.125, "sk_ratio": 0.0625, "se_ratio": 0.125},
        {"num_layers": 4, "out_dim": 16},
        3,
    ),
    "50_sk_cifar_stem": (
        {"depth": 50, "width_multiplier": 0.0625, "sk_ratio": 0.0625, "stem": "cifar"},
        {},
        0,
    ),
}
IMAGES = np.random.default_rng(5).uniform(size=[2, 16, 16, 3]).astype(np.float32)


def marked(*fast: str) -> list[Any]:
    """All cases, those that are not named here among the slow tests."""
    return [pytest.param(name, marks=[] if name in fast else [pytest.mark.slow]) for name in sorted(CASES)]


MARKED = marked("18_resnet_d", "50_sk_cifar_stem", "50_without_head", "cifar")


@pytest.fixture(scope="module", params=MARKED)
def case(request: pytest.FixtureRequest) -> Parts:
    return random_parts(*CASES[request.param])


def run_import(source: str, folder: Path, *flags: str) -> LoadedRun:
    assert import_official.main([f"--source={source}", f"--model_dir={folder}", *flags]) == 0
    return load_run(str(folder))


def assert_same(run: LoadedRun, parts: Parts) -> None:
    found = {name: getattr(run, name) for name in ("encoder", "projection_head", "classifier")}
    actual, expected = outputs(found, IMAGES), outputs(parts, IMAGES)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    theirs, ours = parts["encoder"].get_config(), run.encoder.get_config()
    assert {name: ours[name] for name in theirs} == theirs


IN_TF1 = [param for param in MARKED if param.values != ("18_resnet_d",)]  # their TF1 code cannot build it


@pytest.mark.parametrize("case", IN_TF1, indirect=True)
def test_tf1_file_gives_the_same_outputs(case: Parts, tmp_path: Path) -> None:
    source = write_tf1(tmp_path / "model.ckpt-1234", tf1_names(case))
    run = run_import(source, tmp_path / "run")
    assert_same(run, case)
    assert run.step == 1234


def test_tf2_file_gives_the_same_outputs(case: Parts, tmp_path: Path) -> None:
    run = run_import(write_tf2(tmp_path / "ckpt-3", case), tmp_path / "run")
    assert_same(run, case)
    assert run.step == 77


@pytest.mark.parametrize("case", marked("18_resnet_d", "cifar"), indirect=True)
def test_saved_model_gives_the_same_outputs_and_runs_no_code(
    case: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_saved_model(tmp_path / "saved_model" / "1500", case)
    keys = dict(tf.train.list_variables(f"{source}/variables/variables"))
    assert any(key.startswith("trainable_variables_list/") for key in keys), "not the keys of a checkpoint"

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the source's code was run")

    for loader in ("saved_model.load", "keras.models.load_model", "compat.v1.train.import_meta_graph"):
        monkeypatch.setattr(f"tensorflow.{loader}", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    run = run_import(source, tmp_path / "run")
    assert_same(run, case)
    assert run.step == 1500


def test_tf1_hub_module_gives_the_same_outputs(tmp_path: Path) -> None:
    """A SavedModel by its files, with the names of TF1 and no step inside."""
    parts = random_parts(*CASES["cifar"])
    module = tmp_path / "hub" / "250"
    write_tf1(module / "variables" / "variables", tf1_names(parts), step=None)
    (module / "saved_model.pb").touch()
    run = run_import(str(module), tmp_path / "run")
    assert_same(run, parts)
    assert run.step == 250


def test_our_own_run_can_be_rebuilt(tmp_path: Path) -> None:
    parts = random_parts(*CASES["50_sk_se"])
    first = run_import(write_tf1(tmp_path / "model.ckpt-9", tf1_names(parts), step=9), tmp_path / "first")
    again = run_import(str(tmp_path / "first" / "checkpoints" / "ckpt-9"), tmp_path / "again")
    assert_same(again, parts)
    assert again.step == first.step == 9


def test_ema_takes_the_averages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, average = (random_parts(*CASES["cifar"], seed=seed) for seed in (1, 2))
    both = {**tf1_names(plain), **tf1_names(average, prefix="ema_model/")}
    source = write_tf1(tmp_path / "both" / "model.ckpt-5", both)
    assert_same(run_import(source, tmp_path / "plain"), plain)
    assert f"{len(both) // 2} variables under ema_model/" in capsys.readouterr().out
    assert_same(run_import(source, tmp_path / "average", "--ema"), average)
    left = sum(name.startswith("base_model/") for name in both)
    assert f"{left} variables under base_model/" in capsys.readouterr().out
    left_out = json.loads((tmp_path / "average" / "result.json").read_text())["left_out"]
    assert set(tf1_names(plain)) < set(left_out)


def test_a_stripped_file_gives_its_averages_whatever_optimizer_state_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    average = random_parts(*CASES["cifar"])
    left = [
        "base_model/conv2d/kernel/Momentum",
        "base_model/batch_normalization_1/gamma/LARSOptimizer_1",
        "head_contrastive/nl_0/dense/kernel/Adam",
        "ema_model/base_model/conv2d/kernel/ExponentialMovingAverage",
        "beta1_power_1",
    ]
    values = {**tf1_names(average, prefix="ema_model/"), **{name: np.zeros(3) for name in left}}
    source = write_tf1(tmp_path / "model.ckpt-5", values)
    assert_same(run_import(source, tmp_path / "run"), average)
    assert (
        "moving averages of the weights (ema_model/), the file holds nothing else" in capsys.readouterr().out
    )
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["moving_averages"]
    assert set(left) < set(result["left_out"])


def test_classifier_on_a_head_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SimCLRv2's fine-tuned files classify the head's first layer; the file does not say so, a flag does."""
    parts = random_parts(*CASES["cifar"])
    source = write_tf1(tmp_path / "model.ckpt-1", tf1_names(parts))
    run = run_import(source, tmp_path / "run", "--ft_proj_selector=1")
    h = parts["projection_head"].layer_outputs(parts["encoder"](IMAGES))[1]
    np.testing.assert_allclose(run.logits(IMAGES), parts["classifier"](h), rtol=1e-4, atol=1e-5)
    assert (
        import_official.main([f"--source={source}", "--ft_proj_selector=3", f"--model_dir={tmp_path}"]) == 2
    )
    assert "--ft_proj_selector=3" in capsys.readouterr().err


def test_what_is_said_and_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_tf1(tmp_path / "model.ckpt-2", tf1_names(random_parts(*CASES["50_without_head"])))
    run = run_import(source, tmp_path / "run")
    out = capsys.readouterr().out
    assert "version 1" in out
    assert "1 optimizer slots, global_step" in out
    assert run.projection_head is None
    assert run.config.data.dataset == "imagenet2012"
    assert run.config.data.image_size == 224
    assert json.loads((tmp_path / "run" / "data.json").read_text())["num_classes"] == 1000
    given = run_import(source, tmp_path / "given", "--dataset=folder:/x", "--image_size=160")
    assert (given.config.data.dataset, given.config.data.image_size) == ("folder:/x", 160)


def test_newest_of_a_folder(tmp_path: Path) -> None:
    old, new = (random_parts(TINY, None, 2, seed=seed) for seed in (1, 2))
    folder = tmp_path / "theirs"
    write_tf1(folder / "model.ckpt-900", tf1_names(old), step=None)
    write_tf1(folder / "model.ckpt-1000", tf1_names(new), step=None)
    run = run_import(str(folder), tmp_path / "run")
    assert_same(run, new)
    assert run.step == 1000
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-900"\n')
    assert_same(run_import(str(folder), tmp_path / "stated"), old)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of digits at step 4, of a file without projection head."""
    folder = tmp_path_factory.mktemp("imported")
    source = write_tf1(folder / "model.ckpt-4", tf1_names(random_parts(TINY, None, 10)), step=4)
    run_import(source, folder / "run", "--dataset=digits", "--image_size=8")
    return folder / "run"


def test_run_folder_is_complete(imported: Path) -> None:
    for name in ("config.json", "flags.cfg", "report.html"):
        assert (imported / name).exists()
    assert json.loads((imported / "data.json").read_text())["class_names"] == list("0123456789")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("evaluate", ""),
        ("knn", ""),
        pytest.param("embed", "", marks=pytest.mark.slow),
        pytest.param("transfer", "", marks=pytest.mark.slow),
        pytest.param("linear_eval", "--train_steps=2", marks=pytest.mark.slow),
        pytest.param("finetune", "--train_steps=2 --labels_per_class=5", marks=pytest.mark.slow),
        pytest.param("pretrain", "--train_steps=2 --train_batch_size=16", marks=pytest.mark.slow),
    ],
)
def test_every_later_command_works_on_the_run(
    imported: Path, tmp_path: Path, command: str, flags: str
) -> None:
    module = importlib.import_module(f"tf_simclr.{command}")
    arguments = [f"--checkpoint={imported}", f"--model_dir={tmp_path / 'out'}", *flags.split()]
    assert module.main(arguments) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["dataset"] == "digits"
    assert result["steps"] == (2 if flags else 4)
    if command == "evaluate":
        assert result["num_eval_examples"] == 360


@pytest.mark.slow
def test_the_run_is_exported(imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert export_main([f"--checkpoint={imported}", f"--output_dir={tmp_path}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier", "encoder"]


@pytest.mark.parametrize("name", ["tf1_resnet50_sk", "tf1_resnet18_cifar"])
def test_authors_files_give_their_outputs(name: str, shared: Callable[[str], Path], tmp_path: Path) -> None:
    run = run_import(str(shared(f"golden/{name}")), tmp_path / "run")
    with np.load(shared(f"golden/{name}/outputs.npz")) as golden:
        expected = dict(golden)
    h = run.encoder(expected["input"])
    assert run.projection_head is not None
    assert run.classifier is not None
    actual = {"representation": h, "projection": run.projection_head(h), "logits": run.classifier(h)}
    for key, value in actual.items():
        assert distance(value, expected[key]) < 1e-4, key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tf1_resnet50_sk", "tf1_resnet18_cifar"])
def test_authors_files_after_export(
    name: str, shared: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import saved_model

    if (
        name == "tf1_resnet50_sk"
    ):  # its verification takes a minute, and says nothing that the other's does not
        monkeypatch.setattr(saved_model, "_verify", lambda folders: None)
    run = run_import(str(shared(f"golden/{name}")), tmp_path / "run", "--image_size=64")
    folders = {folder.parent.name: folder for folder in saved_model.export_run(run, str(tmp_path / "export"))}
    exports = {part: tf.saved_model.load(str(folder)) for part, folder in folders.items()}
    with np.load(shared(f"golden/{name}/outputs.npz")) as golden:
        expected = dict(golden)
    h = exports["encoder"](expected["input"])
    assert distance(h, expected["representation"]) < 1e-4
    assert distance(exports["projection_head"](h), expected["projection"]) < 1e-4
    assert distance(exports["classifier"](expected["input"]), expected["logits"]) < 1e-4


@pytest.mark.slow
def test_authors_online_classifier_keeps_its_accuracy(shared: Callable[[str], Path], tmp_path: Path) -> None:
    golden = shared("golden/online_probe_run")
    expected = 100 * json.loads((golden / "result.json").read_text())["eval/label_top_1_accuracy"]
    run_import(str(golden), tmp_path / "run", "--dataset=cifar10", f"--data_dir={shared('data/tfds')}")
    assert evaluate.main([f"--checkpoint={tmp_path / 'run'}", f"--model_dir={tmp_path / 'out'}"]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["num_eval_examples"] == 10_000
    assert abs(result["top1"] - expected) <= 0.05
    assert abs(result["top5"] - 92.65) <= 0.05


def distance(actual: tf.Tensor, expected: np.ndarray) -> float:
    """Relative, by norm."""
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))
