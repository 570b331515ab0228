"""Distillation as a command: what it takes from its teacher, keeps of it, refuses, and resumes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.model_card import text
from tests.small_runs import Make, folder_of, result_of, rows_of, write_images
from tf_simclr import distill, finetune, linear_eval, pretrain, runs
from tf_simclr.config import Config, flags, stored
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.runs import prefixes
from tf_simclr.training import callbacks

SMALLER = {"resnet_depth": 18, "width_multiplier": 0.0625}


@pytest.fixture(scope="module")
def taught(tiny: Make, evaluating: Make) -> Config:
    """A finished fine-tuning on few labels, from head layer 1."""
    config = evaluating("finetune", labels_per_class=5, train_batch_size=50, ft_proj_selector=1)
    finetune.finetune(config)
    return config


@pytest.fixture(scope="module")
def student(tiny: Make, taught: Config) -> Config:
    config = tiny("distill", teacher=taught.run.model_dir)
    distill.distill(config)
    return config


def tensors(config: Config) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefixes.find(config.run.model_dir))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_a_student_is_a_run_of_its_own(taught: Config, student: Config) -> None:
    result = result_of(student)
    assert result["teacher"] == taught.run.model_dir
    assert result["teacher_sha256_before"] == result["teacher_sha256_after"]
    assert result["teacher_top1"] == result_of(taught)["top1"]
    assert (result["num_eval_examples"], result["eval_split"]) == (360, "test")
    with np.load(folder_of(student) / "predictions.npz") as kept:
        assert result["top1"] == 100 * np.mean(kept["prediction"] == kept["label"])
    (row,) = rows_of(folder_of(student) / "metrics.csv")
    assert set(row) == {"step", "images", "learning_rate", "loss", "agreement"}
    run = runs.load_run(student.run.model_dir)
    assert run.projection_head is None
    assert run.head_layer == 0
    assert run.class_names == tuple("0123456789")
    assert (folder_of(student) / "report.html").exists()
    weights = {name for name in tensors(student) if name.startswith("model/") and "OPTIMIZER" not in name}
    assert not [name for name in weights if "teach" in name or "projection_head" in name]
    own = sum(
        variable.shape.num_elements() for part in (run.encoder, run.classifier) for variable in part.variables
    )
    kept = [
        value for name, value in tensors(student).items() if name in weights and "/optimizer/" not in name
    ]
    assert own <= sum(value.size for value in kept) < own + 20  # the metrics


def test_the_teacher_is_in_what_the_run_says_of_itself(taught: Config, student: Config) -> None:
    tree = stored.read_tree(runs.loading.stored.run_of(student.run.model_dir))
    assert tree["taught_by"]["command"] == "finetune"
    assert tree["taught_by"]["pretrained_by"]["command"] == "pretrain"
    assert stored.pretraining(tree)["method"]["name"] == "simclr"
    facts = {
        **dict.fromkeys(["top1", "git_commit", "projection_dim"]),
        **{"model": "encoder", "config": tree, "step": 6, "image_size": 8, "representation_dim": 64},
        **{"num_classes": 10, "versions": {"tf_simclr": "0"}, "weights_sha256": "0"},
    }
    assert "| pretrained by | distilled from a teacher (ResNet-18, width 0.125" in text(facts)


@pytest.mark.parametrize("command", ["linear_eval", "distill"])
def test_a_student_is_evaluated_and_teaches_as_any_run(tiny: Make, student: Config, command: str) -> None:
    named = {"checkpoint" if command == "linear_eval" else "teacher": student.run.model_dir}
    options = {"proj_head_mode": "none", "augment": False, "weight_decay": 0.0, "train_steps": 2}
    config = tiny(command, **named, **options)
    {"linear_eval": linear_eval.linear_eval, "distill": distill.distill}[command](config)
    assert result_of(config)["top1"] is not None


class StopAtTwo(callbacks.Saver):
    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        super().on_steps(before, step, logs)


@pytest.mark.slow
def test_it_goes_on_to_the_same_end(
    tiny: Make, taught: Config, student: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = tiny("distill", teacher=taught.run.model_dir)
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAtTwo)
        with pytest.raises(Interrupted):
            distill.distill(stopped)
    distill.distill(stopped)
    table = "metrics.csv"
    assert (folder_of(stopped) / table).read_bytes() == (folder_of(student) / table).read_bytes()
    ours, theirs = tensors(student), tensors(stopped)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(theirs[name], value, err_msg=name)


@pytest.mark.slow
def test_a_smaller_student_starts_from_its_own_pretraining(
    tiny: Make, taught: Config, tmp_path: Path
) -> None:
    own = tiny(**SMALLER, train_steps=1)
    pretrain.pretrain(own)
    arguments = [f"--teacher={taught.run.model_dir}", f"--model_dir={tmp_path}", "--label_weight=0.2"]
    _, config = flags.parse(distill.COMMAND, [*arguments, f"--checkpoint={own.run.model_dir}"])
    assert config.encoder.width_multiplier == 0.0625
    config = config.replace(train_batch_size=64, train_steps=1, learning_rate=0.0)
    distill.distill(config)
    kept, expected = runs.load_run(str(tmp_path)).encoder, runs.load_run(own.run.model_dir).encoder
    for variable, value in zip(kept.trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert {"label_loss", "accuracy"} <= set(rows_of(tmp_path / "metrics.csv")[0])
    assert json.loads((tmp_path / "config.json").read_text())["pretrained_by"]["command"] == "pretrain"


def test_flags_are_the_teachers_unless_given(taught: Config) -> None:
    teacher = f"--teacher={taught.run.model_dir}"
    _, same = flags.parse(distill.COMMAND, [teacher])
    assert same.encoder == dataclasses.replace(taught.encoder, stem=taught.stem)
    assert (same.data.dataset, same.data.image_size) == ("digits", 8)
    _, smaller = flags.parse(distill.COMMAND, [teacher, "--width_multiplier=0.0625"])
    assert smaller.encoder == dataclasses.replace(same.encoder, width_multiplier=0.0625)


def test_images_without_labels_take_the_teachers_classes(tiny: Make, tmp_path: Path) -> None:
    write_images(tmp_path / "labelled", {"train": 20, "test": 4})
    (tmp_path / "plain").mkdir()
    for number, path in enumerate(sorted((tmp_path / "labelled" / "train").rglob("*.png"))):
        shutil.copy(path, tmp_path / "plain" / f"{number}.png")
    small: dict[str, Any] = {"train_batch_size": 20, "train_steps": 1}
    teacher = tiny("finetune", dataset=f"folder:{tmp_path / 'labelled'}", **small)
    finetune.finetune(teacher)
    options = {"dataset": f"folder:{tmp_path / 'plain'}", "teacher": teacher.run.model_dir, **small}
    config = tiny("distill", **options)
    distill.distill(config)
    assert runs.load_run(config.run.model_dir).class_names == ("dark", "light")
    assert result_of(config)["top1"] is None
    with pytest.raises(UsageError, match=r"--label_weight=0.1: .* has no labels"):
        distill.distill(tiny("distill", **options, label_weight=0.1))


def test_another_teacher_under_the_run_is_refused(tiny: Make, taught: Config) -> None:
    teacher = tiny("finetune")
    shutil.copytree(taught.run.model_dir, teacher.run.model_dir, dirs_exist_ok=True)
    config = tiny("distill", teacher=teacher.run.model_dir, train_steps=1)
    distill.distill(config)
    for path in (folder_of(teacher) / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"--teacher=.* holds other weights than when the run"):
        distill.distill(config)


def test_mistakes_name_the_teacher(
    tiny: Make, taught: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = tiny(train_steps=0, train_epochs=0, lineareval_while_pretraining=False)
    pretrain.pretrain(unlabelled)
    write_images(tmp_path / "data", {"train": 2, "test": 2})
    folder = f"--dataset=folder:{tmp_path / 'data'}"
    teacher = f"--teacher={taught.run.model_dir}"
    cases = [
        ([f"--teacher={unlabelled.run.model_dir}"], "the run of --teacher has no classifier"),
        ([teacher, folder], "has 2 classes, the classifier of --teacher 10"),
        ([teacher, "--image_size=16"], "--image_size=16"),
        ([teacher, "--eval_split=train"], "--eval_split=train"),
        ([], "--teacher is required"),
    ]
    for arguments, words in cases:
        capsys.readouterr()
        assert distill.main([*arguments, f"--model_dir={tmp_path / 'run'}"]) == 2
        error = capsys.readouterr().err
        (line,) = [line for line in error.splitlines() if line.startswith("distill: ")]
        assert words in line
        assert "--checkpoint" not in line
    assert not (tmp_path / "run").exists()
