"""The evaluation protocols beyond one run: repeats, sweeps, transfer, probes, embeddings."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tf_simclr import data, embed, evaluate, finetune, knn, linear_eval, pretrain, runs, transfer
from tf_simclr.checks import mistakes
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.evaluation import features as features_lib
from tf_simclr.evaluation import logistic_regression
from tf_simclr.evaluation.paper_transfer import paper_dataset
from tf_simclr.inputs import labelled
from tf_simclr.inputs.batch_size import with_fitting_batch
from tf_simclr.optimizers import LARS
from tf_simclr.protocols import outcome, repeats, sweeping, transferring, tuning
from tf_simclr.protocols.transferring import slug
from tf_simclr.reports import plots
from tf_simclr.runs import build, prefixes
from tf_simclr.training import callbacks
from tf_simclr.training import selection as validating
from tf_simclr.training.callbacks import Speed

Make = Callable[..., Config]


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """t-SNE would take most of an evaluation's time."""
    monkeypatch.setattr(plots, "MOST_POINTS", 40)


def folder_of(config: Config) -> Path:
    return Path(config.run.model_dir)


def result_of(config: Config) -> dict[str, Any]:
    return json.loads((folder_of(config) / "result.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


@pytest.fixture(scope="session")
def evaluating(tiny: Make, pretrained: Config) -> Make:
    """Makes configurations of an evaluation of the tiny pretraining."""

    def make(command: str, **changes: Any) -> Config:
        defaults = {"checkpoint": pretrained.run.model_dir, "optimizer": "nesterov", "weight_decay": 0.0}
        return tiny(command, **{**defaults, **changes})

    return make


@pytest.fixture(scope="session")
def seeded(evaluating: Make) -> Config:
    config = evaluating("finetune", seeds="3,4", labels_per_class=2, train_batch_size=20, train_steps=2)
    finetune.finetune(config)
    return config


def test_linear_eval_by_lars(evaluating: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, optimizers = build.compiled, []

    def recorded(model: Any, *arguments: Any) -> Any:
        compiled(model, *arguments)
        optimizers.append(model.optimizer)
        return model

    monkeypatch.setattr(build, "compiled", recorded)
    config = evaluating("linear_eval", optimizer="lars", learning_rate=0.3, zero_init_logits_layer=True)
    linear_eval.linear_eval(config)
    result = result_of(config)
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"]
    assert [type(optimizer) for optimizer in optimizers] == [LARS]
    assert np.any(runs.load_run(config.run.model_dir).classifier.dense.kernel.numpy())


def test_linear_eval_on_a_head_layer_classifies_that_layer(evaluating: Make) -> None:
    config = evaluating("linear_eval", ft_proj_selector=2)
    linear_eval.linear_eval(config)
    run = runs.load_run(config.run.model_dir)
    assert run.classifier.dense.kernel.shape[0] == 8  # z's width
    with np.load(folder_of(config) / "predictions.npz") as stored:
        assert result_of(config)["top1"] == 100 * np.mean(stored["prediction"] == stored["label"])


def test_a_head_layer_that_is_not_there_is_a_mistake(evaluating: Make) -> None:
    with pytest.raises(UsageError, match="--ft_proj_selector=3: the projection head has 2 layers"):
        linear_eval.linear_eval(evaluating("linear_eval", ft_proj_selector=3))


@pytest.mark.parametrize("layer", [0, 1])
def test_without_augmentation_features_are_computed_once_and_kept(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch, layer: int
) -> None:
    config = evaluating("linear_eval", augment=False, train_steps=60, ft_proj_selector=layer)
    linear_eval.linear_eval(config)
    assert len(list((folder_of(config) / "features").glob("features_*.npz"))) == 1
    first = result_of(config)
    assert first["encoder_sha256_before"] == first["encoder_sha256_after"]

    monkeypatch.setattr("tf_simclr.protocols.on_features.labelled", SimpleNamespace(features=never))
    again = folder_of(config) / "checkpoints"
    for path in again.iterdir():
        path.unlink()
    linear_eval.linear_eval(config)
    assert result_of(config)["top1"] == first["top1"]
    evaluation = evaluating("evaluate", checkpoint=config.run.model_dir)
    evaluate.evaluate(evaluation)
    assert result_of(evaluation)["top1"] == first["top1"]


def test_cached_features_train_as_the_images_would(evaluating: Make) -> None:
    """With every image kept whole, both ways see the same numbers in the same order."""
    from tf_simclr import inputs
    from tf_simclr.protocols import on_features

    config = evaluating("linear_eval", augment=False)
    source = inputs.train_source(config, labelled=True)
    labels = source.labels()
    batches = on_features.batches(
        features_lib.Features(np.eye(len(labels), dtype=np.float32), labels, np.array([])), 100, seed=0
    )
    images = inputs.training_batches(config.replace(train_batch_size=100), source)
    for step in (0, 20):  # the second starts in the second epoch
        ours, theirs = next(iter(batches(step))), next(iter(images(step)))
        np.testing.assert_array_equal(ours["label"], theirs["label"])
        np.testing.assert_array_equal(labels[np.argmax(ours["image"], axis=1)], ours["label"])


def test_seeds_give_mean_and_deviation(seeded: Config) -> None:
    result = result_of(seeded)
    runs = [json.loads((folder_of(seeded) / f"seed_{s}" / "result.json").read_text()) for s in (3, 4)]
    assert result["per_seed"] == [run["top1"] for run in runs]
    assert [run["seed"] for run in runs] == result["seeds"] == [3, 4]
    assert result["top1"] == pytest.approx(np.mean(result["per_seed"]))
    assert result["top1_std"] == pytest.approx(np.std(result["per_seed"], ddof=1))
    chosen = [(folder_of(seeded) / f"seed_{s}" / "labelled_ids.txt").read_text() for s in (3, 4)]
    assert chosen[0] != chosen[1]
    assert (folder_of(seeded) / "report.html").exists()


def test_the_weights_of_a_seed_are_in_its_own_run(seeded: Config) -> None:
    with pytest.raises(UsageError, match=r"no checkpoint; give the run of one of its seeds, .*seed_3"):
        runs.load_run(seeded.run.model_dir)
    assert runs.load_run(f"{seeded.run.model_dir}/seed_4").classifier is not None


def test_compare_with_stores_both_tests_for_each_seed(
    evaluating: Make, seeded: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = evaluating(
        "finetune",
        checkpoint="",
        seeds="3,4",
        labels_per_class=2,
        train_batch_size=20,
        train_steps=1,
        compare_with=seeded.run.model_dir,
    )
    finetune.finetune(config)
    comparisons = result_of(config)["comparisons"]
    assert [Path(found["with"]).name for found in comparisons] == ["seed_3", "seed_4"]
    for found, top1 in zip(comparisons, result_of(config)["per_seed"], strict=True):
        assert found["accuracy_a"] == pytest.approx(top1)
        assert found["p_permutation"] == pytest.approx(found["p_mcnemar"], abs=0.01)
    assert "McNemar p =" in capsys.readouterr().out


def test_a_run_compared_with_itself_does_not_differ(evaluating: Make) -> None:
    config = evaluating("knn")
    knn.knn(config)
    knn.knn(config.replace(compare_with=config.run.model_dir))
    comparison = result_of(config)["comparison"]
    assert (comparison["p_permutation"], comparison["p_mcnemar"]) == (1.0, 1.0)


def test_knn_draws_neighbours_and_both_representations(evaluating: Make) -> None:
    config = evaluating("knn")
    knn.knn(config)
    report = (folder_of(config) / "report.html").read_text()
    for caption in ("Nearest neighbours of sample images", "t-SNE of h and z", "Accuracy of each class"):
        assert caption in report
    assert (folder_of(config) / "neighbours.png").read_bytes().startswith(b"\x89PNG")


def test_selecting_on_validation_keeps_the_best_checkpoint(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([20.0, 50.0, 50.0])  # of equals the earlier one
    monkeypatch.setattr(validating, "accuracy", lambda *_: next(figures))
    config = evaluating(
        "finetune", select_on_validation=True, label_fraction=0.2, train_steps=9, learning_rate=3.0
    )
    finetune.finetune(config)
    rows = rows_of(folder_of(config) / "validation.csv")
    assert [int(row["step"]) for row in rows] == [3, 6, 9]
    result = result_of(config)
    assert (result["selected_step"], result["validation_top1"]) == (6, 50.0)
    kept = Path(prefixes.find(config.run.model_dir))
    assert kept.name == "ckpt-9"
    reader = __import__("tensorflow").train.load_checkpoint
    selected = reader(str(folder_of(config) / "best" / "ckpt-6"))
    name = "model/classifier/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_array_equal(reader(str(kept)).get_tensor(name), selected.get_tensor(name))
    ids, held = (
        set((folder_of(config) / f"{name}_ids.txt").read_text().split())
        for name in ("labelled", "validation")
    )
    assert len(ids | held) == len(ids) + len(held) == result["num_labels"] == round(0.2 * 1437)


class StopAfterThree(callbacks.Saver):
    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        self._signalled = step == 4
        super().on_steps(before, step, logs)


@pytest.mark.slow
def test_selection_and_probes_resume_to_the_same_end(
    tiny: Make, evaluating: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = {"select_on_validation": True, "label_fraction": 0.2, "learning_rate": 3.0}
    pairs = [
        (finetune.finetune, [evaluating("finetune", **tuning) for _ in range(2)], "validation.csv"),
        (
            pretrain.pretrain,
            [tiny(probe_epochs=1, probe_images=200, train_batch_size=700) for _ in range(2)],
            "probe.csv",
        ),
    ]
    for command, (whole, stopped), table in pairs:
        command(whole)
        with monkeypatch.context() as patched:
            patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAfterThree)
            with pytest.raises(Interrupted):
                command(stopped)
        command(stopped)
        assert (folder_of(stopped) / table).read_text() == (folder_of(whole) / table).read_text()
        assert result_of(stopped)["top1"] == result_of(whole)["top1"]


@pytest.mark.slow
def test_a_sweep_chooses_on_validation_and_tests_once(
    evaluating: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evaluating(
        "finetune",
        sweep=True,
        sweep_learning_rates="1e30,0.5",
        sweep_weight_decays="0,1e-3",
        learning_rate_scaling="none",
        label_fraction=0.2,
        train_steps=4,
    )
    finetune.finetune(config)
    result = result_of(config)
    assert [(row["learning_rate"], row["weight_decay"]) for row in result["sweep"]] == [
        (1e30, 0.0),
        (1e30, 1e-33),
        (0.5, 0.0),
        (0.5, 0.002),
    ]
    diverged, finite = result["sweep"][:2], result["sweep"][2:]
    assert [row["validation"] for row in diverged] == [None, None]
    assert result["chosen"] == max(finite, key=lambda row: row["validation"])
    assert result["num_labels"] == round(0.2 * 1437)  # retrained on what had been held out too
    assert result["num_eval_examples"] == 360
    assert "validation top1" in capsys.readouterr().out

    trained, fit = [], tuning.fit
    monkeypatch.setattr(
        tuning,
        "fit",
        lambda model, batches, steps, run: trained.append(run) or fit(model, batches, steps, run),
    )
    finetune.finetune(config)
    assert [run.path.name for run in trained] == ["chosen"]
    assert result_of(config)["sweep"] == result["sweep"]
    assert runs.load_run(config.run.model_dir).top1 == result["top1"]  # the chosen run stands for it

    for name in ("result.json", "config.json"):  # as if it had been interrupted
        (folder_of(config) / name).unlink()
    with pytest.raises(UsageError, match="other flags: --seed"):
        finetune.finetune(config.replace(seed=1))


def test_batch_norm_follows_the_number_of_steps_an_epoch() -> None:
    config = Config("finetune").replace(transfer_batch_norm=True, train_batch_size=2)
    decays = [
        tuning._adapted(config, SimpleNamespace(num_examples=n)).encoder.batch_norm_decay for n in (1000, 10)
    ]
    assert decays == [1 - 10 / 500, 0.9]  # App. B.8


def test_a_batch_is_no_larger_than_the_data_unless_asked_for() -> None:
    default = Config("finetune")
    batches = [
        with_fitting_batch(config, 500).optimization.train_batch_size
        for config in (default, default.replace(train_batch_size=1000))
    ]
    assert batches == [256, 1000]
    assert with_fitting_batch(default, 5000) == default


@pytest.mark.parametrize("sweep", [False, True])
def test_workers_meet_before_data_are_opened(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, sweep: bool
) -> None:
    class Met(Exception):
        pass

    def meet(config: Config) -> None:
        raise Met

    monkeypatch.setattr(sweeping if sweep else tuning, "set_up", meet)
    monkeypatch.setattr(data, "open_source", None)
    with pytest.raises(Met):
        finetune.finetune(tiny("finetune", sweep=sweep))


def test_an_unlabelled_image_among_labelled_ones_is_a_mistake_of_any_evaluation() -> None:
    import tensorflow as tf

    picture = tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy()
    source = MemorySource("x", "test", "1", ["a", "b"], images=[picture] * 2, labels=[1, -1], ids=["0", "1"])
    config = Config("knn").replace(image_size=8)
    with pytest.raises(UsageError, match="--dataset=x: split 'test': example 1 has no label"):
        labelled.features(config, lambda images: images[:, 0, 0], source)


def test_pretraining_is_tested_on_the_images_that_have_labels(tiny: Make) -> None:
    import tensorflow as tf

    pixels = [np.full([8, 8, 3], level, np.uint8) for level in (0, 255, 0)]
    images = [tf.io.encode_png(image).numpy() for image in pixels]
    model = SimpleNamespace(encoder=lambda images: images[:, 0, 0, :2] * [0.0, 1.0], classifier=lambda h: h)
    results = []
    for labels in ([0, 1, -1], [-1, -1, -1]):
        config = tiny()
        run = runs.RunFolder.open(config, pretrain.COMMAND)
        source = MemorySource("x", "test", "1", ["a", "b"], images=images, labels=labels, ids=["0", "1", "2"])
        results.append(
            outcome.of_pretraining(run, model, source, config.steps(3), Speed(1.0, 1.0))  # type: ignore[arg-type]
        )
    assert [(result["top1"], result["num_eval_examples"]) for result in results] == [(100.0, 2), (None, 0)]


def test_transfer_writes_a_row_a_data_set_and_uses_its_cache(
    tiny: Make,
    pretrained: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_images(tmp_path / "data", {"train": 6, "val": 3, "test": 3})
    name = f"folder:{tmp_path / 'data'}"
    config = tiny("transfer", checkpoint=pretrained.run.model_dir, datasets=f"digits,{name}")
    transfer.transfer(config)
    digits, folder = result_of(config)["transfer"]
    assert (digits["dataset"], digits["num_train"], digits["num_eval_examples"]) == ("digits", 1437, 360)
    assert (folder["num_train"], folder["num_eval_examples"]) == (18, 6)  # validation is trained on at last
    assert 40 < digits["test"] <= 100
    assert len(list((folder_of(config) / "features").iterdir())) == 2 + 3
    printed = capsys.readouterr().out
    assert printed.startswith(f"transfer: digits,{name}, 8 px")
    report = (folder_of(config) / "report.html").read_text()
    for heading in ("l2 path: digits", "Predictions: digits", "paper 1x"):
        assert heading in report

    monkeypatch.setattr(logistic_regression, "transfer", never)
    transfer.transfer(config)  # finished rows are kept
    assert result_of(config)["transfer"] == [digits, folder]
    monkeypatch.undo()
    monkeypatch.setattr("tf_simclr.protocols.transferring.labelled", SimpleNamespace(features=never))
    (folder_of(config) / f"transfer_{slug(name)}.json").unlink()
    transfer.transfer(config)  # and so are features
    assert result_of(config)["transfer"] == [digits, folder]
    run = runs.RunFolder(folder_of(config), config)
    other = config.replace(dataset=name, datasets="", center_crop_fraction=0.5)
    sha256 = result_of(config)["encoder_sha256_before"]
    with pytest.raises(AssertionError, match="computed again"):  # rows of other flags are not
        transferring.transfer(run, other, None, sha256)  # type: ignore[arg-type]


def test_transfer_over_seeds_has_error_bars_and_comparisons_of_each_data_set(
    tiny: Make, pretrained: Config, tmp_path: Path
) -> None:
    names = []
    for folder in (tmp_path / "a" / "oxford", tmp_path / "a_oxford"):  # alike but for a character
        validation = {"val": 2} if names else {}
        write_images(folder, {"train": 8, "test": 3, **validation})
        names.append(f"folder:{folder}")
    config = tiny("transfer", checkpoint=pretrained.run.model_dir, datasets=",".join(names), seeds="0,1")
    transfer.transfer(config)
    result = result_of(config)
    assert result["dataset"] == config.transfers.datasets
    assert [row["dataset"] for row in result["transfer"]] == names
    for row in result["transfer"]:
        assert row["test"] == pytest.approx(np.mean(row["per_seed"]))
    drawn, given = result["transfer"]  # the images that choose l2
    assert drawn["test_std"] == pytest.approx(np.std(drawn["per_seed"], ddof=1))
    assert given["test_std"] is None
    assert (result["top1"], "per_seed" in result) == (None, False)
    assert len(list((folder_of(config) / "features").iterdir())) == 2 + 3  # shared by the seeds
    assert len(list((folder_of(config) / "seed_0").glob("predictions_*.npz"))) == 2

    transfer.transfer(config.replace(compare_with=config.run.model_dir))
    comparisons = result_of(config)["comparisons"]
    assert [found["dataset"] for found in comparisons] == names * 2
    assert {found["p_permutation"] for found in comparisons} == {1.0}
    assert "p permutation" in (folder_of(config) / "seed_1" / "report.html").read_text()
    with pytest.raises(UsageError, match="no predictions_"):
        transfer.transfer(
            tiny("transfer", datasets=",".join([names[0], "digits"]), compare_with=config.run.model_dir)
        )


def test_transfer_that_no_seed_decides_has_no_deviation(
    tiny: Make, pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, {"train": 8, "val": 2, "test": 3})
    config = tiny("transfer", checkpoint=pretrained.run.model_dir, dataset=f"folder:{tmp_path}", seeds="0,1")
    transfer.transfer(config)
    result = result_of(config)
    assert (result["top1_std"], result["transfer"][0]["test_std"]) == (None, None)
    assert "±" not in capsys.readouterr().out


def test_figures_over_seeds() -> None:
    results = [{"top1": 10.0, "top5": None, "mean_per_class": 20.0}, {"top1": 14.0, "top5": 1.0}]
    found = repeats._spread(results)
    assert found == {"top1": 12.0, "top1_std": pytest.approx(8**0.5), "per_seed": [10.0, 14.0]}
    assert repeats._spread(results[:1])["top1_std"] is None
    assert repeats._spread(results[:1])["mean_per_class"] == 20.0


def test_labels_of_the_checkpoints_own_data_are_left_behind(pretrained: Config, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(pretrained.replace(dataset="folder:x", labels="x.csv").to_json())
    asked = Config("transfer").replace(datasets="digits", labels="x.csv", checkpoint=str(tmp_path))
    assert [one.data.labels for one in transferring.dataset_configs(asked)] == [""]
    with pytest.raises(UsageError, match="--labels"):
        transferring.dataset_configs(asked.replace(labels="other.csv"))


def test_a_broken_image_is_found_in_the_data_sets_of_transfer(tmp_path: Path) -> None:
    import tensorflow as tf

    write_images(tmp_path / "data", {"train": 1, "val": 1, "test": 1})
    (tmp_path / "data" / "val" / "dark" / "0.png").write_bytes(b"\x89PNG broken")
    config = Config("transfer").replace(dataset="digits", datasets=f"digits,folder:{tmp_path / 'data'}")
    found = mistakes.explained(tf.errors.InvalidArgumentError(None, None, "decode"), config)
    assert "val/dark/0.png" in str(found)


@pytest.mark.parametrize(
    ("dataset", "title", "metric"),
    [
        ("folder:/data/aircraft/", "Aircraft", "mean_per_class"),
        ("folder:gs://bucket/Birdsnap", "Birdsnap", "top1"),
        ("voc/2007:4.0.0", "VOC 2007", "voc_map"),
        ("oxford_flowers102", "Flowers", "mean_per_class"),
        ("folder:/data/cifar10", None, None),
        ("digits", None, None),
    ],
)
def test_the_papers_data_sets_are_known_by_name(dataset: str, title: str | None, metric: str | None) -> None:
    known = paper_dataset(dataset)
    assert (known and known.title, known and known.metric) == (title, metric)


def test_transfer_of_images_with_several_labels(
    tiny: Make, pretrained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits as "below five" and "even", the first image of each split being difficult for both."""
    real = data.open_source

    def several(*arguments: Any) -> MemorySource:
        digits = real(*arguments)
        labels = np.stack([digits.labels() < 5, digits.labels() % 2 == 0], axis=1).astype(np.int64)
        labels[0] = -1
        rows = list(digits.records().as_numpy_iterator())
        source = MemorySource(
            "digits",
            digits.split,
            "1",
            ["small", "even"],
            images=[row["image"] for row in rows],
            labels=labels,
            ids=[row["id"] for row in rows],
        )
        source.multi_label = True
        return source

    monkeypatch.setattr(data, "open_source", several)
    config = tiny("transfer", checkpoint=pretrained.run.model_dir)
    transfer.transfer(config)
    row = result_of(config)["transfer"][0]
    assert row["metric"] == "voc_map"
    assert 60 < row["test"] <= 100
    with np.load(folder_of(config) / "predictions.npz") as stored:
        assert stored["prediction"].shape == (360, 2)
    with pytest.raises(UsageError, match="several labels an image"):
        linear_eval.linear_eval(tiny("linear_eval", optimizer="nesterov"))


def write_images(folder: Path, counts: dict[str, int]) -> None:
    """Light and dark images in two classes."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for name, level in (("dark", 40), ("light", 200)):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = (level + rng.integers(-30, 30, [12, 12, 3])).astype(np.uint8)
                (folder / split / name / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())


def test_probes_watch_an_unlabelled_pretraining(tiny: Make, tmp_path: Path) -> None:
    write_images(tmp_path / "data", {"train": 20})
    for number, path in enumerate(sorted((tmp_path / "data" / "train").rglob("*.png"))):
        path.rename(tmp_path / "data" / f"{number}.png")
    for path in (tmp_path / "data" / "train").iterdir():
        path.rmdir()
    (tmp_path / "data" / "train").rmdir()
    config = tiny(
        dataset=f"folder:{tmp_path / 'data'}",
        train_batch_size=20,
        train_steps=5,
        probe_epochs=2,
        probe_dataset="digits",
        probe_images=300,
    )
    pretrain.pretrain(config)
    rows = rows_of(folder_of(config) / "probe.csv")
    assert [int(row["step"]) for row in rows] == [4, 5]
    assert all(20 < float(rows[-1][name]) <= 100 for name in ("probe_knn_top1", "probe_linear_top1"))
    assert "probe" not in (folder_of(config) / "metrics.csv").read_text()
    assert "Probes of the frozen encoder" in (folder_of(config) / "report.html").read_text()


def test_probes_change_nothing_of_the_training(tiny: Make, pretrained: Config) -> None:
    config = tiny(probe_epochs=1, probe_images=100, train_steps=6)
    pretrain.pretrain(config)
    assert (folder_of(config) / "metrics.csv").read_text() == (
        folder_of(pretrained) / "metrics.csv"
    ).read_text()


@pytest.mark.parametrize(("layer", "width"), [("h", 64), ("z", 8), ("1", 64), ("0", 64)])
def test_embed_writes_every_image_with_its_id(
    evaluating: Make, pretrained: Config, layer: str, width: int
) -> None:
    config = evaluating("embed", layer=layer, eval_split="test", eval_batch_size=100)
    embed.embed(config)
    with np.load(folder_of(config) / "embeddings_test.npz") as stored:
        values, ids, labels = stored["embedding"], stored["id"], stored["label"]
    assert values.shape == (360, width)
    assert len(set(ids)) == 360
    assert set(labels) == set(range(10))
    from tf_simclr import inputs

    run = runs.load_run(pretrained.run.model_dir)
    batch = next(iter(inputs.evaluation_batches(config, inputs.eval_source(config))))
    h = run.encoder(batch["image"])
    number = {"h": 0, "z": 2}.get(layer, int(layer) if layer.isdigit() else 0)
    expected = run.projection_head.layer_outputs(h)[number].numpy()
    np.testing.assert_allclose(values[: len(expected)], expected, rtol=1e-4, atol=1e-5)
    assert ids[0] == batch["id"].numpy()[0].decode()


def test_embed_takes_all_splits_and_leaves_no_half_file(evaluating: Make) -> None:
    config = evaluating("embed")
    embed.embed(config)
    names = sorted(path.name for path in folder_of(config).glob("*embeddings*"))
    assert names == ["embeddings_test.npz", "embeddings_train.npz"]


def test_selection_without_training_is_a_mistake(evaluating: Make) -> None:
    with pytest.raises(UsageError, match="nothing was trained"):
        finetune.finetune(evaluating("finetune", select_on_validation=True, train_steps=0, train_epochs=0))
