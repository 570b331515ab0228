"""What config.json says: a command's own groups, and where its encoder came from."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tf_simclr import finetune, knn, linear_eval, pretrain, runs
from tf_simclr.config import Config, stored
from tf_simclr.config.config import differences
from tf_simclr.errors import UsageError
from tf_simclr.methods.simclr import SimCLR

Make = Callable[..., Config]


def tree_of(config: Config) -> dict:
    return json.loads((Path(config.run.model_dir) / "config.json").read_text())


def test_a_command_keeps_its_own_groups_and_its_source(tiny: Make, pretrained: Config) -> None:
    source = tree_of(pretrained)
    assert source["method"] == {"name": "simclr", **dataclasses.asdict(SimCLR())}
    assert set(source) == {"command", *pretrain.COMMAND.groups}
    config = tiny("knn", checkpoint=pretrained.run.model_dir)
    knn.knn(config)
    tree = tree_of(config)
    assert set(tree) == {"command", "pretrained_by", *knn.COMMAND.groups}
    assert tree["pretrained_by"] == source


@pytest.mark.slow
def test_the_source_is_inherited_along_the_chain(tiny: Make, pretrained: Config) -> None:
    options = {"optimizer": "nesterov", "train_steps": 1}
    tuned = tiny("finetune", checkpoint=pretrained.run.model_dir, **options)
    finetune.finetune(tuned)
    linear = tiny("linear_eval", checkpoint=tuned.run.model_dir, augment=False, **options)
    linear_eval.linear_eval(linear)
    tree = tree_of(linear)
    assert (tree["command"], tree["pretrained_by"]["command"]) == ("linear_eval", "finetune")
    assert stored.pretraining(tree) == tree_of(pretrained)
    assert runs.load_run(linear.run.model_dir).settings == tree


def test_what_nothing_pretrained_says_so(tiny: Make) -> None:
    config = tiny("knn")
    knn.knn(config)
    assert "pretrained_by" not in tree_of(config)
    assert stored.pretraining(tree_of(config)) is None


OLD = {
    "command": "pretrain",
    "data": {"dataset": "digits", "image_size": 16},
    "encoder": {"resnet_depth": 18, "width_multiplier": 0.25},
    "objective": {"temperature": 0.5, "hidden_norm": True, "loss_block_size": 8, "micro_batches": 2},
    "optimization": {"learning_rate": 1.0, "profile_steps": "2,3"},
    "probe": {"probe_epochs": 3, "preview_views": ""},
    "freezing": {"sweep": False, "select_on_validation": False, "fine_tune_after_block": -1},
    "run": {"model_dir": "x", "seed": 4},
}


def test_a_run_of_the_old_form_opens(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(OLD))
    config = stored.read_config(tmp_path / "run")
    assert config.method == SimCLR(temperature=0.5, loss_block_size=8)
    assert (config.memory.micro_batches, config.profile.profile_steps) == (2, "2,3")
    assert (config.probe.probe_epochs, config.run.seed) == (3, 4)
    evaluation = {**OLD, "command": "linear_eval", "checkpoints": {"checkpoint": str(tmp_path / "run")}}
    evaluation["objective"] = {"temperature": 0.1, "micro_batches": 1}  # of no meaning there
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear" / "config.json").write_text(json.dumps(evaluation))
    tree = stored.read_tree(tmp_path / "linear")
    assert "method" not in tree
    assert stored.pretraining(tree)["method"]["temperature"] == 0.5


def test_a_source_of_the_old_form_that_moved_is_not_missed(tmp_path: Path) -> None:
    evaluation = {**OLD, "command": "linear_eval", "checkpoints": {"checkpoint": str(tmp_path / "gone")}}
    (tmp_path / "config.json").write_text(json.dumps(evaluation))
    assert stored.pretraining(stored.read_tree(tmp_path)) is None


def test_old_and_new_options_that_are_not_known_are_refused(tmp_path: Path) -> None:
    for group in ("objective", "method"):
        (tmp_path / "config.json").write_text(json.dumps({**OLD, group: {"of_tomorrow": 1}}))
        with pytest.raises(UsageError, match="cannot be used"):
            stored.read_config(tmp_path)


def test_options_of_another_method_follow_it() -> None:
    config = Config("pretrain").replace(temperature=0.5)
    assert config.replace(method="simclr").method == SimCLR(temperature=0.5)
    with pytest.raises(UsageError, match="--method=nobody"):
        config.replace(method="nobody")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("finetune", {"fine_tune_after_block": 3, "select_on_validation": True, "label_fraction": 0.5}),
        ("transfer", {"datasets": "dtd,cifar10"}),
        ("embed", {"layer": "z"}),
        ("label_efficiency", {"draws_labels_per_class": "3", "num_draws": 2}),
        ("linear_eval", {"seeds": "1,2", "augment": False}),
    ],
)
def test_an_evaluation_of_the_old_form_keeps_its_options(command: str, options: dict, tmp_path: Path) -> None:
    asked = Config(command).replace(dataset="digits", model_dir="x", **options)
    old = {**asked.to_tree(), "objective": {"temperature": 0.5}}
    del old["method"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    groups = importlib.import_module(f"tf_simclr.{command}").COMMAND.stored_groups
    assert differences(asked, stored.read_config(tmp_path), groups) == []


@pytest.mark.slow
def test_a_run_is_not_resumed_from_another_source(tiny: Make, pretrained: Config) -> None:
    source = tiny()
    pretrain.pretrain(source)
    config = tiny("knn", checkpoint=source.run.model_dir)
    knn.knn(config)
    other = tree_of(source)
    other["method"]["temperature"] = 0.9
    (Path(source.run.model_dir) / "config.json").write_text(json.dumps(other))
    with pytest.raises(UsageError, match="is another run than when the one in --model_dir"):
        knn.knn(config)
    assert tree_of(config)["pretrained_by"]["method"]["temperature"] != 0.9


def test_a_run_of_a_method_that_is_not_at_hand_is_evaluated(tmp_path: Path) -> None:
    tree = Config("pretrain").replace(dataset="digits").to_tree()
    tree["method"] = {"name": "somebodys_module:Method", "strength": 3}
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert stored.stored_config(str(tmp_path)).data.dataset == "digits"
    assert stored.read_tree(tmp_path) == tree
    with pytest.raises(UsageError, match="somebodys_module"):
        stored.read_config(tmp_path)
