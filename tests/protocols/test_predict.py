"""Predictions of new images: each in order, by a run and by its export alike, or one line and no file."""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from export import parts
from export.saved_model import export_run
from tests.small_runs import folder_of, rows_of
from tf_simclr import data, inputs, predict, runs
from tf_simclr.config import Config, flags
from tf_simclr.config import exported as found
from tf_simclr.runs import predictors


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve digits: eight in no class, and four in two classes that no classifier knows."""
    folder = tmp_path_factory.mktemp("new")
    records = data.open_source("digits", "test").records().take(12).as_numpy_iterator()
    for number, record in enumerate(records):
        odd = {8: "cows/8.png", 9: 'odd/say "x".png', 10: "cows/a,b.png", 11: "odd/11.png"}
        name = odd.get(number, f"{number}.png")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(record["image"])
    return folder


@pytest.fixture(scope="module")
def exported(pretrained: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of an export of the online classifier, of a run that evaluates on 0.6 of an image."""
    run, build = runs.load_run(pretrained.run.model_dir), parts.build
    run = dataclasses.replace(run, config=run.config.replace(center_crop_fraction=0.6))
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:  # for time: no fresh process, no other part
        patch.setattr("export.saved_model._verify", lambda folders: None)
        patch.setattr(parts, "build", lambda *args: {"classifier": build(*args)["classifier"]})
        export_run(run, str(folder))
    return folder


@pytest.fixture
def predicted(tmp_path: Path):
    """Runs the command on flags; gives the rows, as tuples under their header."""

    def run(*flags: str) -> list[dict[str, str]]:
        assert predict.main([*flags, f"--output={tmp_path / 'out.csv'}"]) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
        return rows_of(tmp_path / "out.csv")

    return run


def probabilities(rows: list[dict[str, str]], classes: int) -> np.ndarray:
    """[n, C], from rows of all classes, which are digits."""
    found = np.zeros([len(rows), classes])
    for number, row in enumerate(rows):
        for rank in range(1, classes + 1):
            end = "" if rank == 1 else f"_{rank}"
            found[number, int(row[f"class{end}"])] = float(row[f"probability{end}"])
    return found


def test_a_run_names_class_and_probability_of_every_image(predicted, pretrained: Config, new: Path) -> None:
    rows = predicted(f"--checkpoint={pretrained.run.model_dir}", f"--dataset=folder:{new}", "--top_k=99")
    source = data.open_source(f"folder:{new}", "train")
    assert [row["file"] for row in rows] == [name.decode() for name in source.ids()]
    assert {row["file"] for row in rows} >= {"0.png", "cows/a,b.png", 'odd/say "x".png'}
    (batch,) = inputs.evaluation_batches(pretrained.data, source)
    expected = tf.nn.softmax(runs.load_run(pretrained.run.model_dir).logits(batch["image"])).numpy()
    np.testing.assert_allclose(probabilities(rows, 10), expected, atol=2e-6)
    assert [int(row["class"]) for row in rows] == expected.argmax(axis=1).tolist()
    ranked = [[float(row[f"probability_{rank}"]) for rank in range(2, 11)] for row in rows]
    assert ranked == [sorted(row, reverse=True) for row in ranked]


def test_an_export_alone_says_what_its_run_says(
    predicted, pretrained: Config, exported: Path, new: Path
) -> None:
    both = [f"--dataset=folder:{new}", "--top_k=10", "--eval_batch_size=5"]
    by_run = predicted(f"--checkpoint={pretrained.run.model_dir}", "--center_crop_fraction=0.6", *both)
    by_export = predicted(f"--export={exported}", *both)
    assert [row["file"] for row in by_export] == [row["file"] for row in by_run]
    np.testing.assert_allclose(probabilities(by_export, 10), probabilities(by_run, 10), atol=1e-5)


@pytest.mark.parametrize("given", ["", "classifier", "classifier/6"])
def test_an_export_is_found_by_any_of_its_folders(exported: Path, given: str) -> None:
    (exported / "classifier" / "5").mkdir(exist_ok=True)
    assert str(found.find(str(exported / given))) == str(exported / "classifier" / "6")


def test_an_export_says_how_images_are_prepared_and_what_classes_are_called(
    exported: Path, tmp_path: Path
) -> None:
    """An older one has the names in its assets, and the view in its run's configuration."""
    facts = json.loads((exported / "classifier" / "6" / "export.json").read_text())
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "class_names.txt").write_text("tree frog\ndög\n")
    _, config = flags.parse(predict.COMMAND, [f"--export={exported}", "--dataset=folder:new"])
    assert (config.data.image_size, config.data.center_crop_fraction) == (8, 0.6)
    for name in ("class_names", "center_crop_fraction", "resize_first"):
        del facts[name]
    facts["config"]["data"] |= {"center_crop_fraction": 0.5, "resize_first": True}
    (tmp_path / "export.json").write_text(json.dumps(facts))
    view = found.exported_config(str(tmp_path)).data
    assert (view.center_crop_fraction, view.resize_first) == (0.5, True)
    assert predictors._class_names(epath.Path(tmp_path), facts) == ("tree frog", "dög")
    named = {**facts, "class_names": ["a", "b"]}
    assert predictors._class_names(epath.Path(tmp_path), named) == ("a", "b")


def test_every_split_is_predicted_or_the_one_asked_for(
    predicted, pretrained: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = predicted(f"--checkpoint={pretrained.run.model_dir}", "--dataset=digits")
    assert len({row["file"] for row in rows}) == len(rows) == 1797
    said = capsys.readouterr().out.splitlines()[-1]
    unsure = sum(float(row["probability"]) < 0.5 for row in rows)
    assert said.startswith("predict: 1,797 images (")
    assert f"{unsure / 1797:.1%} of them below a probability of 0.5" in said
    counts = collections.Counter(row["class"] for row in rows)
    assert all(f"{count:,} {name}" in said for name, count in counts.items())
    (test,) = inputs.every_split(pretrained.replace(eval_split="test"))
    assert test.split == "test"


def test_splits_of_a_csv_are_all_predicted(new: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file,label,split\n0.png,a,test\n1.png,b,train\n2.png,a,train\n")
    config = Config("predict").replace(dataset=f"folder:{new}", labels=str(tmp_path / "l.csv"))
    ids = [name.decode() for source in inputs.every_split(config) for name in source.ids()]
    assert sorted(ids) == ["0.png", "1.png", "2.png"]


def test_rows_are_written_batch_by_batch(pretrained: Config) -> None:
    config = Config("predict").replace(checkpoint=pretrained.run.model_dir, dataset="digits", image_size=8)
    config = config.replace(eval_split="test", eval_batch_size=100)
    written: list[int] = []

    class Rows:
        def write(self, rows: bytes) -> None:
            written.append(rows.count(b"\n"))

        def flush(self) -> None:
            pass

    sources = inputs.every_split(config)
    predict._write(config, predictors.of_config(config), sources, Rows())
    assert written == [1, 100, 100, 100, 60]


def test_standard_output_holds_the_rows_alone(
    pretrained: Config, new: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    run = f"--checkpoint={pretrained.run.model_dir}"
    assert predict.main([run, f"--dataset=folder:{new}", "--output=-"]) == 0
    out, err = capsysbinary.readouterr()
    rows = list(csv.DictReader(out.decode().splitlines()))
    assert len(rows) == 12
    assert list(rows[0]) == "file class probability class_2 probability_2 class_3 probability_3".split()
    assert b"predict: 12 images" in err


def test_an_image_that_cannot_be_decoded_leaves_the_older_file(
    pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next(iter(data.open_source("digits", "test").records()))["image"].numpy()
    photos = {"train/a.png": good, "test/a.png": good, "val/broken.png": good[:40]}
    for name, content in photos.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(content)
    output = tmp_path / "out.csv"
    output.write_text("older\n")
    run = f"--checkpoint={pretrained.run.model_dir}"
    assert predict.main([run, f"--dataset=folder:{tmp_path / 'photos'}", f"--output={output}"]) == 2
    assert "1 of 1 images can't be decoded, such as 'val/broken.png'" in capsys.readouterr().err
    assert output.read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "photos"]


@pytest.fixture
def mistake(tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command on bad flags, before any classifier is opened; gives its one line."""

    def run(*flags: str, reads: bool = False) -> str:
        if not reads:
            monkeypatch.setattr("tf_simclr.runs.predictors.of_config", lambda config: pytest.fail("opened"))
        before = sorted(tmp_path.rglob("*"))
        assert predict.main([f"--dataset=folder:{new}", f"--output={tmp_path / 'out.csv'}", *flags]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("predict: ")
        return line

    return run


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    mistake, pretrained: Config, tmp_path: Path
) -> None:
    run = f"--checkpoint={pretrained.run.model_dir}"
    missing = tmp_path / "none" / "out.csv"
    assert f"--output={missing}: cannot be written" in mistake(run, f"--output={missing}")
    assert f"--output={tmp_path} is a folder" in mistake(run, f"--output={tmp_path}")


def test_a_folder_without_images(mistake, pretrained: Config, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = mistake(f"--checkpoint={pretrained.run.model_dir}", f"--dataset=folder:{tmp_path / 'empty'}")
    assert "there are no images" in line


def test_exports_that_are_none_of_a_classifier(mistake, tmp_path: Path) -> None:
    (tmp_path / "encoder" / "6").mkdir(parents=True)
    (tmp_path / "encoder" / "6" / "export.json").write_text('{"model": "encoder"}')
    assert "6: is an export of the encoder" in mistake(f"--export={tmp_path / 'encoder'}")
    assert f"--export={tmp_path}: no exported classifier here" in mistake(f"--export={tmp_path}")


@pytest.mark.parametrize("file", ["export.json", "saved_model.pb", "variables/variables.index"])
def test_a_damaged_export_is_named(mistake, exported: Path, tmp_path: Path, file: str) -> None:
    damaged = tmp_path / "classifier"
    shutil.copytree(exported / "classifier" / "6", damaged)
    (damaged / file).write_bytes((damaged / file).read_bytes()[:100])
    assert f"--export={damaged}: cannot be used" in mistake(f"--export={damaged}", reads=True)


@pytest.mark.parametrize("changed", [{}, {"graph_sha256": None}, {"graph_sha256": "0" * 64}])
def test_a_graph_that_is_not_known_is_said_to_run(
    exported: Path, tmp_path: Path, changed: dict[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(exported / "classifier" / "6", folder)
    facts = json.loads((folder / "export.json").read_text()) | changed
    (folder / "export.json").write_text(json.dumps(facts))
    predictors._exported(str(folder))
    said = capsys.readouterr().out
    assert bool(said) == bool(changed)
    assert not changed or f"warning: --export={folder} is not known to be an export of this project" in said


def test_an_export_with_fewer_names_than_classes_is_damaged(mistake, exported: Path, tmp_path: Path) -> None:
    facts = json.loads((exported / "classifier" / "6" / "export.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps({**facts, "class_names": ["a", "b"]}))
    assert "names 2 of 10 classes" in mistake(f"--export={tmp_path}", reads=True)


def test_several_workers_are_refused(mistake, pretrained: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    assert "TF_CONFIG" in mistake(f"--checkpoint={pretrained.run.model_dir}")


def test_the_run_of_one_seed_is_asked_for(mistake, pretrained: Config, tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    (folder / "seed_3" / "checkpoints").mkdir(parents=True)
    shutil.copy(folder_of(pretrained) / "config.json", folder)
    assert f"such as {folder / 'seed_3'}" in mistake(f"--checkpoint={folder}", reads=True)
