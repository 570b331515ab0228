"""Each command as a function on the tiny encoder: what it promises to leave behind."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import metadata

from tf_simclr import evaluate, finetune, inputs, knn, label_efficiency, linear_eval, predict, pretrain, runs
from tf_simclr.config import Config, stored
from tf_simclr.errors import UsageError
from tf_simclr.models import Classifier
from tf_simclr.protocols import preview, proof
from tf_simclr.reports import plots
from tf_simclr.runs.folder import RunFolder

Make = Callable[..., Config]


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """t-SNE would take most of an evaluation's time."""
    monkeypatch.setattr(plots, "MOST_POINTS", 40)


def result_of(config: Config) -> dict[str, Any]:
    return json.loads((Path(config.run.model_dir) / "result.json").read_text())


@pytest.fixture(scope="session")
def linear(tiny: Make, pretrained: Config) -> Config:
    config = tiny(
        "linear_eval",
        checkpoint=pretrained.run.model_dir,
        optimizer="nesterov",
        weight_decay=0.0,
        zero_init_logits_layer=True,
    )
    linear_eval.linear_eval(config)
    return config


def test_a_run_folder_holds_what_is_promised(pretrained: Config) -> None:
    folder = Path(pretrained.run.model_dir)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "flags.cfg", "data.json", "checkpoints", "logs", "metrics.csv"}
    assert names >= {"result.json", "report.html", "predictions.npz"}
    assert stored.read_config(folder) == pretrained
    result = result_of(pretrained)
    assert (result["command"], result["dataset"], result["steps"], result["seed"]) == (
        "pretrain",
        "digits",
        6,
        0,
    )
    assert result["num_eval_examples"] == 360
    assert 0 <= result["top1"] <= result["top5"] <= 100
    assert result["images_per_second"] > 0
    assert result["versions"]["tensorflow"] == tf.__version__
    assert "http" not in (folder / "report.html").read_text().replace("http://www.w3.org", "")


def test_tensorboard_has_what_metrics_csv_and_collapse_csv_have(pretrained: Config) -> None:
    folder = Path(pretrained.run.model_dir)
    with (folder / "metrics.csv").open() as file, (folder / "collapse.csv").open() as beside:
        (row,), (collapse,) = csv.DictReader(file), csv.DictReader(beside)
    row |= collapse
    assert float(row["learning_rate"]) == pytest.approx(0.3 * 64 / 256 * (1 + math.cos(5 / 6 * math.pi)) / 2)
    shown = {
        value.tag: (event.step, float(tf.make_ndarray(value.tensor)))
        for events in (folder / "logs").glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert shown.keys() == row.keys()
    for name, (step, value) in shown.items():
        assert (step, value) == (6, pytest.approx(float(row[name]), rel=1e-5)), name


def test_tensorboard_has_the_evaluation_the_views_and_the_hyper_parameters(pretrained: Config) -> None:
    folder = Path(pretrained.run.model_dir)
    (events,) = (folder / "logs" / "evaluation").glob("events.*")
    shown = {
        value.tag: (event.step, value)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    result = result_of(pretrained)
    for name in ("top1", "top5", "mean_per_class"):
        step, value = shown[f"evaluation/{name}"]
        assert (step, float(tf.make_ndarray(value.tensor))) == (6, pytest.approx(result[name]))
    picture = tf.io.decode_png(tf.make_ndarray(shown["views"][1].tensor)[2])
    np.testing.assert_array_equal(picture, tf.io.decode_png((folder / "views.png").read_bytes(), channels=3))
    stored = shown[metadata.SESSION_START_INFO_TAG][1].metadata.plugin_data.content
    parameters = metadata.parse_session_start_info_plugin_data(stored).hparams
    assert parameters["train_batch_size"].number_value == 64
    assert parameters["use_flip"].bool_value is False
    assert parameters["dataset"].string_value == "digits"


@pytest.mark.slow
def test_metrics_hold_no_timing_and_one_row_an_epoch(tiny: Make) -> None:
    config = tiny(train_steps=50)
    pretrain.pretrain(config)
    lines = (Path(config.run.model_dir) / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("step,images,learning_rate,")
    assert {"contrastive_loss", "contrastive_accuracy", "contrastive_entropy", "online_accuracy"} <= set(
        lines[0].split(",")
    )
    assert [line.split(",")[0] for line in lines[1:]] == ["22", "44", "50"]  # 1,437 // 64 = 22 steps an epoch


def test_linear_eval_leaves_the_encoder_alone_and_says_so(linear: Config, pretrained: Config) -> None:
    result = result_of(linear)
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"]
    assert len(result["projection_head_sha256"]) == 64
    ours, theirs = runs.load_run(linear.run.model_dir), runs.load_run(pretrained.run.model_dir)
    for a, b in zip(ours.encoder.variables, theirs.encoder.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert np.any(ours.classifier.dense.kernel.numpy())


def test_linear_eval_fails_when_one_variable_is_not_frozen(
    tiny: Make, pretrained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze_all_but_one_kernel(model: Classifier) -> None:
        model.encoder(tf.zeros([1, 8, 8, 3]))
        model.projection_head.trainable = False
        leaves = [layer for layer in model.encoder.submodules if not layer.submodules]
        kernels = [leaf for leaf in leaves if getattr(leaf, "kernel", None) is not None]
        for leaf in leaves:
            leaf.trainable = leaf is kernels[0]
        assert len(model.encoder.trainable_variables) == 1

    monkeypatch.setattr(Classifier, "freeze_encoder", freeze_all_but_one_kernel)
    config = tiny("linear_eval", checkpoint=pretrained.run.model_dir, optimizer="nesterov")
    with pytest.raises(proof.FrozenEncoderMoved):
        linear_eval.linear_eval(config)
    assert not (Path(config.run.model_dir) / "result.json").exists()


def test_linear_eval_fails_when_batch_norm_statistics_move(
    tiny: Make, pretrained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moving(Classifier):
        def features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
            self.encoder.groups[0].trainable = True  # batch statistics, as in the authors' TF2 code
            return super().features(images, training=training)

    monkeypatch.setattr("tf_simclr.runs.build.Classifier", Moving)
    with pytest.raises(proof.FrozenEncoderMoved):
        linear_eval.linear_eval(
            tiny("linear_eval", checkpoint=pretrained.run.model_dir, optimizer="nesterov")
        )


def test_evaluate_gives_the_accuracy_that_the_run_had(tiny: Make, linear: Config) -> None:
    config = tiny("evaluate", checkpoint=linear.run.model_dir)
    evaluate.evaluate(config)
    assert result_of(config)["top1"] == result_of(linear)["top1"]


def test_evaluating_the_images_of_training_is_warned_of(
    tiny: Make, linear: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, warned in (("train", True), ("test", False)):
        config = tiny("evaluate", checkpoint=linear.run.model_dir, eval_split=split)
        evaluate.evaluate(config)
        assert (
            "warning: the classifier was trained on images of digits train" in capsys.readouterr().out
        ) == warned
        assert result_of(config)["eval_split"] == split


def test_finetune_uses_only_the_labels_it_was_given(tiny: Make, pretrained: Config) -> None:
    config = tiny(
        "finetune",
        checkpoint=pretrained.run.model_dir,
        optimizer="nesterov",
        labels_per_class=2,
        train_batch_size=20,
    )
    finetune.finetune(config)
    ids = (Path(config.run.model_dir) / "labelled_ids.txt").read_text().splitlines()
    assert len(ids) == len(set(ids)) == 20
    assert result_of(config)["num_labels"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("block", [-1, 0, 2, 4])
def test_finetuning_trains_what_follows_the_block(tiny: Make, pretrained: Config, block: int) -> None:
    config = tiny(
        "finetune",
        checkpoint=pretrained.run.model_dir,
        optimizer="nesterov",
        train_steps=2,
        fine_tune_after_block=block,
        ft_proj_selector=1 if block == -1 else 0,
    )
    finetune.finetune(config)
    before, after = (runs.load_run(run.run.model_dir) for run in (pretrained, config))
    for number, (old, new) in enumerate(zip(before.encoder.groups, after.encoder.groups, strict=True)):
        moved = any(np.any(a.numpy() != b.numpy()) for a, b in zip(old.variables, new.variables, strict=True))
        assert moved == (number > block), f"group {number}"
    first = [(run.projection_head.dense_layers[0].dense.kernel.numpy()) for run in (before, after)]
    assert np.any(first[0] != first[1]) == (block == -1)


def test_knn_reports_both_votes_and_both_k(tiny: Make, pretrained: Config) -> None:
    config = tiny("knn", checkpoint=pretrained.run.model_dir)
    knn.knn(config)
    result = result_of(config)
    assert set(result["knn"]) == {"k20_weighted", "k20_plain", "k200_weighted", "k200_plain"}
    assert result["top1"] == result["knn"]["k200_weighted"]
    assert result["knn_k"] == [20, 200]
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"]


def test_knn_names_the_k_that_was_used(tiny: Make, pretrained: Config) -> None:
    config = tiny("knn", checkpoint=pretrained.run.model_dir, k="3, 5000,9000")
    knn.knn(config)
    result = result_of(config)
    assert result["knn_k"] == [3, 1437]  # all that digits has
    assert list(result["knn"]) == ["k3_weighted", "k3_plain", "k1437_weighted", "k1437_plain"]
    assert "k1437 weighted" in (Path(config.run.model_dir) / "report.html").read_text()


@pytest.mark.slow
def test_knn_without_a_checkpoint_says_that_it_is_random(
    tiny: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    knn.knn(tiny("knn"))
    assert "random initialisation" in capsys.readouterr().out


@pytest.mark.slow
def test_label_efficiency_compares_four_contestants(
    tiny: Make, pretrained: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(
        "label_efficiency",
        checkpoint=pretrained.run.model_dir,
        optimizer="nesterov",
        num_draws=2,
        num_scratch_draws=1,
        draws_labels_per_class="all,1",
        train_batch_size=8,
        train_steps=2,
    )
    label_efficiency.label_efficiency(config)
    result = result_of(config)
    assert len(result["mean_and_std"]) == 8
    assert result["top1"] == pytest.approx(result["mean_and_std"]["pretrained, all"][0], abs=0.01)
    printed = capsys.readouterr()
    for name in ("pretrained", "untrained", "raw pixels", "from scratch"):
        assert name in printed.out
    assert "from scratch: 100%" in printed.err


def test_preview_views_writes_a_picture_and_trains_nothing(tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; give a file"):
        pretrain.pretrain(tiny(preview_views=str(tmp_path)))
    config = tiny(preview_views=str(tmp_path / "views.png"))
    pretrain.pretrain(config)
    assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path(config.run.model_dir).iterdir())


def test_pictures_of_views_need_no_service_and_leave_the_cache_alone(tiny: Make, tmp_path: Path) -> None:
    """Three services would not divide the two images of a picture's batch."""
    config = tiny(
        data_service="grpc://a:1,grpc://b:1,grpc://c:1", cache_dataset=True, cache_dir=str(tmp_path)
    )
    source = inputs.train_source(config)
    run = RunFolder.open(config, pretrain.COMMAND)
    preview.keep(run, source)
    assert (run.path / "views.png").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "changes", "message"),
    [
        (pretrain.pretrain, {"dataset": ""}, "--dataset is required"),
        (pretrain.pretrain, {"model_dir": ""}, "--model_dir is required"),
        (pretrain.pretrain, {"dataset": "folder:/no/such"}, "/no/such"),
        (pretrain.pretrain, {"train_split": "nosuch"}, "nosuch"),
    ],
)
def test_mistakes(
    tiny: Make, command: Callable[[Config], None], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        command(tiny(**changes))


@pytest.mark.slow
def test_a_classifier_is_needed_to_evaluate(tiny: Make, pretrained: Config) -> None:
    unlabelled = tiny(lineareval_while_pretraining=False, train_steps=1)
    pretrain.pretrain(unlabelled)
    with pytest.raises(UsageError, match="no classifier"):
        evaluate.evaluate(tiny("evaluate", checkpoint=unlabelled.run.model_dir))
    output = Path(unlabelled.run.model_dir) / "predictions.csv"
    with pytest.raises(UsageError, match="the run of --checkpoint has no classifier"):
        predict.predict(
            tiny("predict", checkpoint=unlabelled.run.model_dir, output=str(output), model_dir="")
        )
    assert not output.exists()


@pytest.mark.slow
def test_a_mistake_does_not_take_the_folder(tiny: Make) -> None:
    config = tiny(train_steps=1)
    with pytest.raises(UsageError, match="digist"):
        pretrain.pretrain(config.replace(dataset="digist"))
    pretrain.pretrain(config)


def test_a_run_that_never_saved_gives_way_to_other_flags(tiny: Make) -> None:
    config = tiny(train_steps=1)
    folder = Path(config.run.model_dir)
    RunFolder.open(config, pretrain.COMMAND).write("data.json", "{}")
    (folder / "checkpoints").mkdir()
    RunFolder.open(config.replace(seed=1), pretrain.COMMAND)
    (folder / "checkpoints" / "ckpt-1.index").touch()
    with pytest.raises(UsageError, match="holds a run with other flags"):
        RunFolder.open(config, pretrain.COMMAND)


@pytest.mark.slow
def test_the_plan_warns_of_a_batch_and_a_warm_up_that_are_too_large(
    tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        image = tf.random.stateless_uniform([9, 9, 3], [0, number], 0, 256, tf.int32)
        tf.io.write_file(str(tmp_path / f"{number}.png"), tf.io.encode_png(tf.cast(image, tf.uint8)))
    config = tiny(dataset=f"folder:{tmp_path}", train_steps=2, train_batch_size=6, warmup_epochs=9.0)
    pretrain.pretrain(config)
    output = capsys.readouterr().out
    assert "a batch of 6 holds each of the 4 images 1.5 times" in output
    assert "2 steps end within the warm-up of 6; lower --warmup_epochs" in output
    assert "pretrain: 2 steps done" in output


@pytest.mark.slow
def test_folders_without_a_test_split_and_with_some_labels_pretrain(
    tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        folder = tmp_path / ("", "a", "b")[number % 3]
        folder.mkdir(exist_ok=True)
        image = tf.random.stateless_uniform([9, 9, 3], [0, number], 0, 256, tf.int32)
        tf.io.write_file(str(folder / f"{number}.png"), tf.io.encode_png(tf.cast(image, tf.uint8)))
    config = tiny(dataset=f"folder:{tmp_path}", train_steps=2, train_batch_size=4)
    pretrain.pretrain(config)
    result = result_of(config)
    assert result["top1"] is not None
    assert result["num_eval_examples"] == 2
    output = capsys.readouterr().out
    assert "4 images, 2 classes" in output
    assert "  no split test: 20 % of each class (2 images) are held out, --holdout\n" in output
    held_out = (Path(config.run.model_dir) / "holdout_ids.txt").read_text().split()
    assert [name[:2] for name in held_out] == ["a/", "b/"]
    assert (Path(config.run.model_dir) / "views.png").exists()
    assert len(inputs.train_source(config.replace(holdout=0.0, model_dir="")).labels()) == 6


def test_a_test_split_without_images_is_not_asked_of_a_pretraining(tiny: Make, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
    tf.io.write_file(str(tmp_path / "train" / "a" / "0.png"), tf.io.encode_png(tf.zeros([9, 9, 3], tf.uint8)))
    config = Config("pretrain").replace(dataset=f"folder:{tmp_path}")
    assert inputs.optional_eval_source(config) is None
    tf.io.gfile.makedirs(str(tmp_path / "val" / "a"))
    tf.io.gfile.copy(str(tmp_path / "train" / "a" / "0.png"), str(tmp_path / "val" / "a" / "0.png"))
    assert inputs.optional_eval_source(config).split == "val"
    with pytest.raises(UsageError, match="split 'test' is empty"):
        inputs.optional_eval_source(config.replace(eval_split="test"))


@pytest.mark.slow
def test_weight_decay_works_with_momentum_too(tiny: Make) -> None:
    norms = []
    for decay in (0.0, 10.0):
        config = tiny(optimizer="momentum", weight_decay=decay, learning_rate=0.01, train_steps=2)
        pretrain.pretrain(config)
        kernels = runs.load_run(config.run.model_dir).encoder.trainable_variables
        norms.append(sum(float(tf.norm(kernel)) for kernel in kernels))
    assert norms[1] < 0.99 * norms[0]


def test_evaluations_measure_their_time(tiny: Make, pretrained: Config) -> None:
    config = tiny("knn", checkpoint=pretrained.run.model_dir)
    knn.knn(config)
    assert result_of(config)["wall_seconds"] > 0
    assert result_of(config)["images_per_second"] > 0


def test_a_step_that_was_not_measured_has_no_top1(pretrained: Config) -> None:
    run = Path(pretrained.run.model_dir)
    assert runs.load_run(str(run)).top1 is not None
    assert runs.load_run(str(run / "checkpoints" / "ckpt-3")).top1 is None


def test_head_layers_after_the_chosen_one_stay_as_they_were(tiny: Make, pretrained: Config) -> None:
    config = tiny(
        "finetune",
        checkpoint=pretrained.run.model_dir,
        optimizer="nesterov",
        weight_decay=0.1,
        ft_proj_selector=1,
        train_steps=2,
    )
    finetune.finetune(config)
    before, after = (runs.load_run(run.run.model_dir).projection_head for run in (pretrained, config))
    for old, new in zip(before.dense_layers[1].variables, after.dense_layers[1].variables, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
