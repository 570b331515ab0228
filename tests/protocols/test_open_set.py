"""Open-set runs: what is trained, held out and tested, what is reported, refused, resumed, and added."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, assert_same_run, folder_of, result_of, rows_of, weights_of
from tf_simclr import data, inputs, open_set, runs
from tf_simclr.config import Config
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.evaluation.unknowns import auroc
from tf_simclr.inputs import known_classes
from tf_simclr.protocols import adding
from tf_simclr.training import callbacks

SMALL: dict[str, Any] = {
    "known_classes": "0,1,2,9",
    "optimizer": "nesterov",
    "weight_decay": 0.0,
    "labels_per_class": 60,
    "clustering_start_step": 2,
    "prototype_steps": 2,
    "features_per_class": 5,
}
KEPT = "model/clusters/{}/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def known(tiny: Make) -> Config:
    """A finished run that knows four digits."""
    config = tiny("open_set", **SMALL)
    open_set.open_set(config)
    return config


def ids_in(config: Config, name: str) -> set[str]:
    return set((folder_of(config) / f"{name}_ids.txt").read_text().split())


def test_what_is_trained_held_out_and_tested(known: Config) -> None:
    result, labels = result_of(known), inputs.train_source(known).labels()
    digit = dict(zip(inputs.train_source(known).names(), labels.tolist(), strict=True))
    trained, held_out = ids_in(known, "labelled"), ids_in(known, "validation")
    assert not trained & held_out
    counts = np.bincount([digit[name] for name in trained], minlength=10)
    np.testing.assert_array_equal(counts, [54, 54, 54, 0, 0, 0, 0, 0, 0, 54])
    np.testing.assert_array_equal(np.bincount([digit[name] for name in held_out]), [6] * 10)
    tested = np.bincount(inputs.eval_source(known).labels())
    assert result["num_eval_examples"] == tested[[0, 1, 2, 9]].sum()
    assert result["num_unknown_examples"] == tested[3:9].sum()
    assert result["known_classes"] == list(runs.load_run(known.run.model_dir).class_names) == list("0129")


def test_what_is_reported_is_what_is_kept(known: Config) -> None:
    result = result_of(known)
    with np.load(folder_of(known) / "predictions.npz") as found:
        labels = found["label"]
        assert result["top1"] == 100 * np.mean(found["prediction"] == labels)
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 2, 3])  # numbered anew
    with np.load(folder_of(known) / "unknowns.npz") as found:
        kept = dict(found)
    assert kept["known"].sum() == result["num_eval_examples"]
    rows = {row["score"]: row for row in result["unknown_detection"]}
    assert rows.keys() == {"weibull", "energy", "max_softmax"}
    for name, row in rows.items():
        assert row["auroc"] == auroc(kept[name][kept["known"]], kept[name][~kept["known"]])
    kept_share = np.mean(kept["weibull"][kept["known"]] <= 0)
    assert rows["weibull"]["known_accuracy"] == pytest.approx(100 * kept_share)
    assert "Unknown detection" in (folder_of(known) / "report.html").read_text()


def test_clustering_begins_when_it_is_asked_to(known: Config) -> None:
    weights, (*_, row) = weights_of(folder_of(known)), rows_of(folder_of(known) / "metrics.csv")
    np.testing.assert_array_equal(weights[KEPT.format("moves")], [3] * 4)  # after steps 2, 4 and 6
    assert weights[KEPT.format("features")].shape[:2] == (4, 5)
    assert weights[KEPT.format("pushed")].sum() == 6 * 64
    assert float(row["clustering_loss"]) > 0


class StopAtThree(callbacks.Saver):
    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        super().on_steps(before, step, logs)


@pytest.mark.slow
def test_it_goes_on_to_the_same_end(tiny: Make, known: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = tiny("open_set", **SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAtThree)
        with pytest.raises(Interrupted):
            open_set.open_set(stopped)
    open_set.open_set(stopped)
    assert_same_run(folder_of(stopped), folder_of(known))
    assert result_of(stopped)["unknown_detection"] == result_of(known)["unknown_detection"]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "trained"), [(7, [7] * 5), (0, [0, 0, 0, 0, 54])])
def test_a_class_is_added_to_what_the_run_knows(
    tiny: Make, known: Config, count: int, trained: list[int]
) -> None:
    """With a rate of 0 the old classes' weights and prototypes stay as they were."""
    own = {**SMALL, "labels_per_class": 0, "features_per_class": 20}  # those of the run count
    changes = {"checkpoint": known.run.model_dir, "add_class": "4", "exemplars": count, "learning_rate": 0.0}
    config = tiny("open_set", **{**own, **changes, "train_steps": 1, "batch_norm_decay": 1.0})
    open_set.open_set(config)
    digit = dict(
        zip(*(getattr(inputs.train_source(known), own)() for own in ("names", "labels")), strict=True)
    )
    images = ids_in(config, "labelled")
    np.testing.assert_array_equal([sum(digit[i] == n for i in images) for n in (0, 1, 2, 9, 4)], trained)
    assert not images & ids_in(known, "validation")
    added, result = runs.load_run(config.run.model_dir), result_of(config)
    assert added.class_names == ("0", "1", "2", "9", "4")
    before = runs.load_run(known.run.model_dir)
    for new, old in zip(added.classifier.variables, before.classifier.variables, strict=True):
        np.testing.assert_array_equal(new[..., :4], old)
    kept, found = weights_of(folder_of(known)), weights_of(folder_of(config))
    for name in ("prototypes", "moves"):
        np.testing.assert_array_equal(found[KEPT.format(name)][:4], kept[KEPT.format(name)])
    assert (result["added_class"], result["old_classes_top1_before"]) == ("4", result_of(known)["top1"])
    with np.load(folder_of(config) / "predictions.npz") as written:
        right, new = written["prediction"] == written["label"], written["label"] == 4
    assert result["old_classes_top1_after"] == 100 * np.mean(right[~new])
    assert result["added_class_top1"] == pytest.approx(100 * np.mean(right[new]))


def test_mistakes_are_one_line(
    tiny: Make, known: Config, pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, seven = f"--checkpoint={known.run.model_dir}", "--known_classes=0,1,2,3,4,5,6"
    cases = [
        (["--known_classes=0,1,eleven"], "--known_classes: --dataset=digits has no class 'eleven'"),
        (["--known_classes=0,1,10"], "no class '10'; give some of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--known_classes=0,0"], "--known_classes=0,0: give different ones"),
        (["--known_classes=7"], "--known_classes: one class is nothing to tell apart"),
        (["--known_classes=0,1,2,3,4,5,6,7,8,9"], "all 10 classes of --dataset=digits would be known"),
        ([seven, "--validation_unknowns=6,7"], "--validation_unknowns=6,7: one of them is known"),
        ([], "--known_classes is required"),
        (["--add_class=5"], "--add_class goes with --checkpoint"),
        ([base, "--add_class=9"], "--add_class=9: the run of --checkpoint knows it"),
        ([base, "--add_class=eleven"], "--add_class: --dataset=digits has no class 'eleven'"),
        (
            [base, "--add_class=3", seven],
            "--known_classes=0,1,2,3,4,5,6: the run of --checkpoint knows 0,1,2,9",
        ),
        ([base, "--add_class=3", "--exemplars=55"], "--exemplars=55: class '0' has 54"),
        ([f"--checkpoint={pretrained.run.model_dir}", "--add_class=3"], "is a run of pretrain"),
    ]
    for arguments, words in cases:
        assert open_set.main(["--dataset=digits", *arguments, f"--model_dir={tmp_path / 'run'}"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert words in error
    assert not (tmp_path / "run").exists()


def test_a_world_without_unknowns_to_fit_by_is_refused() -> None:
    """Of class 2 four images can be held out, one short of what a fit takes."""

    def source(*counts: int) -> data.Source:
        labels = np.repeat(range(3), counts)
        images = [tf.io.encode_png(np.zeros([2, 2, 3], np.uint8)).numpy()] * len(labels)
        ids = [f"{label} {number}" for number, label in enumerate(labels)]
        names = ("a", "b", "c")
        return data.records.MemorySource("made", "train", "1", names, images=images, labels=labels, ids=ids)

    test = source(1, 1, 1)
    with pytest.raises(UsageError, match="4 images of unknown classes in split 'train' are held out to fit"):
        known_classes.world(source(50, 50, 40), test, [0, 1], [2], seed=0)
    world = known_classes.world(source(30, 20, 50), test, [1, 0], [2], seed=0)
    assert [part.num_examples for part in world] == [45, 5, 5, 2, 1]
    assert world.train.class_names == ("b", "a")
    assert {name[0] for name in world.train.names()} == {"0", "1"}
    np.testing.assert_array_equal(world.test_known.labels(), [1, 0])
    np.testing.assert_array_equal(world.test_unknown.labels(), [-1])
    with pytest.raises(UsageError, match="--exemplars=19: class 'b' has 18"):
        adding.exemplars(world.train, 19, seed=0)
    np.testing.assert_array_equal(adding.exemplars(world.train, 0, seed=0).labels(), [1] * 27)
    np.testing.assert_array_equal(np.bincount(adding.exemplars(world.train, 9, seed=0).labels()), [9, 9])
