"""Transfer by logistic regression: rows, caches, seeds, and the data sets of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, folder_of, never, result_of, write_images
from tf_simclr import data, linear_eval, runs, transfer
from tf_simclr.checks import mistakes
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import UsageError
from tf_simclr.evaluation import logistic_regression
from tf_simclr.evaluation.paper_transfer import paper_dataset
from tf_simclr.inputs import labelled
from tf_simclr.protocols import datasets


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
    printed = capsys.readouterr()
    assert printed.out.startswith(f"transfer: digits,{name}, 8 px")
    for one in ("digits", name):  # what is captured is no terminal
        assert f"{one}: 100%" in printed.err
    report = (folder_of(config) / "report.html").read_text()
    for heading in (
        "l2 path: digits",
        "Predictions: digits",
        "confident mistakes: digits",
        "<th>images trained on",
    ):
        assert heading in report
    assert (folder_of(config) / "mistakes_digits.png").exists()
    with np.load(folder_of(config) / "predictions_digits.npz") as stored:
        assert digits["test"] == 100 * np.mean(stored["probabilities"].argmax(axis=1) == stored["label"])
        np.testing.assert_allclose(stored["probabilities"].sum(axis=1), 1, rtol=1e-5)

    monkeypatch.setattr(logistic_regression, "transfer", never)
    transfer.transfer(config)  # finished rows are kept
    assert result_of(config)["transfer"] == [digits, folder]
    monkeypatch.undo()
    monkeypatch.setattr(labelled, "features", never)
    (folder_of(config) / f"transfer_{datasets.slug(name)}.json").unlink()
    transfer.transfer(config)  # and so are features
    assert result_of(config)["transfer"] == [digits, folder]
    run = runs.RunFolder(folder_of(config), config)
    other = config.replace(dataset=name, datasets="", center_crop_fraction=0.5)
    sha256 = result_of(config)["encoder_sha256_before"]
    with pytest.raises(AssertionError, match="computed again"):  # rows of other flags are not
        transfer.row_of(run, transfer.open_images(other), None, sha256)  # type: ignore[arg-type]


@pytest.mark.slow
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


def test_labels_of_the_checkpoints_own_data_are_left_behind(pretrained: Config, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(pretrained.replace(dataset="folder:x", labels="x.csv").to_json())
    asked = Config("transfer").replace(datasets="digits", labels="x.csv", checkpoint=str(tmp_path))
    assert [one.data.labels for one in datasets.configs(asked)] == [""]
    with pytest.raises(UsageError, match="--labels"):
        datasets.configs(asked.replace(labels="other.csv"))


def test_a_broken_image_is_found_in_the_data_sets_of_transfer(tmp_path: Path) -> None:
    write_images(tmp_path / "data", {"train": 1, "val": 1, "test": 1})
    broken = tmp_path / "data" / "val" / "dark" / "0.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    config = Config("transfer").replace(dataset="digits", datasets=f"digits,folder:{tmp_path / 'data'}")
    config = config.replace(model_dir=str(tmp_path / "run"), on_bad_image="fail")
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
        np.testing.assert_array_equal(stored["probabilities"] > 0.5, stored["prediction"])
    with pytest.raises(UsageError, match="several labels an image"):
        linear_eval.linear_eval(tiny("linear_eval", optimizer="nesterov"))
