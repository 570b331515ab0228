"""What is measured beside a pretraining: probes and the online classifier."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, folder_of, result_of, rows_of, stopped_at, write_images
from tf_simclr import finetune, pretrain, runs
from tf_simclr.config import Config
from tf_simclr.data.records import MemorySource
from tf_simclr.errors import UsageError
from tf_simclr.protocols import predictions


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
        with stopped_at(4, monkeypatch):
            command(stopped)
        command(stopped)
        assert (folder_of(stopped) / table).read_text() == (folder_of(whole) / table).read_text()
        assert result_of(stopped)["top1"] == result_of(whole)["top1"]


def test_pretraining_is_tested_on_the_images_that_have_labels(tiny: Make) -> None:
    pixels = [np.full([8, 8, 3], level, np.uint8) for level in (0, 255, 0)]
    images = [tf.io.encode_png(image).numpy() for image in pixels]
    model = SimpleNamespace(encoder=lambda images: images[:, 0, 0, :2] * [0.0, 1.0], classifier=lambda h: h)
    results = []
    for labels in ([0, 1, -1], [-1, -1, -1]):
        run = runs.RunFolder.open(tiny(), pretrain.COMMAND)
        source = MemorySource("x", "test", "1", ["a", "b"], images=images, labels=labels, ids=["0", "1", "2"])
        results.append(
            predictions.of_online_classifier(run, model, source)  # type: ignore[arg-type]
        )
    assert [(result.get("top1"), result["num_eval_examples"]) for result in results] == [
        (100.0, 2),
        (None, 0),
    ]


@pytest.mark.slow
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


@pytest.mark.slow
def test_probes_change_nothing_of_the_training(tiny: Make, pretrained: Config) -> None:
    config = tiny(probe_epochs=1, probe_images=100, train_steps=6)
    pretrain.pretrain(config)
    assert (folder_of(config) / "metrics.csv").read_text() == (
        folder_of(pretrained) / "metrics.csv"
    ).read_text()


def test_a_probe_of_one_class_is_refused_before_a_step_is_trained(tiny: Make) -> None:
    config = tiny(probe_epochs=1, probe_images=1)
    with pytest.raises(UsageError, match=r"--probe_images=1: they are of one class"):
        pretrain.pretrain(config)
    assert not (folder_of(config) / "checkpoints").exists()
