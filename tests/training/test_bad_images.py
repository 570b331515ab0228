"""Bad images in whole commands: trained past, named, counted, and never the cost of what was trained."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.data import bad_files
from tests.data.pictures import encoded, picture, write
from tests.small_runs import Make, assert_same_run, folder_of, result_of
from tf_simclr import doctor, knn, pretrain
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.training import collapse, guard

BAD = {"b/cut.png": bad_files.PNG[:-40], "a/page.jpg": b"<html>", "b/crc.png": bad_files.broken_crc()}


def _photos(root: Path) -> str:
    images = {f"{name}/{i}.png": encoded(picture(12, 12, i), "PNG") for i in range(48) for name in "ab"}
    return write(root, {**images, **BAD})


def _config(tiny: Make, dataset: str, **changes: Any) -> Config:
    return tiny(dataset=dataset, **{"max_bad_images": 5.0, "train_batch_size": 32, **changes})


def _named(run: Path) -> dict[str, str]:
    with (run / "bad_images.csv").open() as file:
        return {row["file"]: row["found"] for row in csv.DictReader(file)}


def _stopped_at_3(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the process where step 3 was saved, as a kill would."""

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(guard.Guard, "saved", die)
        with pytest.raises(Killed):
            pretrain.pretrain(config)


@pytest.mark.slow
def test_resuming_keeps_the_positions_whatever_became_of_the_files(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = _photos(tmp_path / "photos")
    whole, part = _config(tiny, dataset), _config(tiny, dataset)
    pretrain.pretrain(whole)
    said = capsys.readouterr().out
    assert "1 bad images are left out: a/page.jpg: HTML, no image" in said
    assert "3 bad images (bad_images.csv)" in said
    assert result_of(whole)["bad_images"] == 3
    assert set(_named(folder_of(whole))) == set(BAD)

    _stopped_at_3(part, monkeypatch)
    mended = Path(shutil.copytree(folder_of(part), tmp_path / "mended"))
    pretrain.pretrain(part)
    assert_same_run(folder_of(whole), folder_of(part))
    assert _named(folder_of(part)) == _named(folder_of(whole))

    files = ("a/page.jpg", "b/cut.png", "a/new.png")
    write(tmp_path / "photos", dict.fromkeys(files, bad_files.PNG))
    (tmp_path / "photos" / "b" / "crc.png").unlink()
    capsys.readouterr()
    pretrain.pretrain(part.replace(model_dir=str(mended)))
    said = capsys.readouterr().out
    assert "1 images that the run did not begin with are left out" in said
    assert "1 images that the run began with are gone" in said
    assert result_of(part.replace(model_dir=str(mended)))["bad_images"] == 2  # page.jpg, crc.png


@pytest.mark.slow
def test_over_the_limit_what_was_trained_is_saved(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collapse, "watchers", lambda *_: lambda start: [])  # which would find them first
    dataset = _photos(tmp_path)
    config, whole = _config(tiny, dataset, max_bad_images=2.0), _config(tiny, dataset)
    with pytest.raises(
        UsageError, match=r"3 of 99 images can't be decoded.*bears 2;.*steps to \d+ are saved"
    ):
        pretrain.pretrain(config)
    pretrain.pretrain(config.replace(max_bad_images=3.0))
    assert "goes on from step" in capsys.readouterr().out
    pretrain.pretrain(whole)
    assert_same_run(folder_of(config), folder_of(whole))


def test_a_preview_of_nothing_but_bad_images_says_so(tiny: Make, tmp_path: Path) -> None:
    dataset = write(tmp_path / "photos", {f"a/{i}.png": bad_files.PNG[:-40] for i in range(3)})
    views = tmp_path / "views.png"
    config = _config(tiny, dataset, preview_views=str(views), max_bad_images=100.0)
    with pytest.raises(UsageError, match=r"--dataset=folder:.*photos: no image of train can be decoded"):
        pretrain.pretrain(config)
    assert not views.exists()


@pytest.mark.slow
def test_an_evaluation_counts_the_good_ones(tiny: Make, tmp_path: Path, pretrained: Config) -> None:
    dataset = _photos(tmp_path)
    checkpoint = str(folder_of(pretrained))
    config = tiny("knn", dataset=dataset, checkpoint=checkpoint, max_bad_images=5.0, holdout=0.5)
    result = knn.knn(config)
    assert result["bad_images"] == 3
    assert set(_named(folder_of(config))) == set(BAD)


@pytest.mark.slow
def test_doctor_reads_every_image_and_names_the_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped = bytearray(encoded(picture(90, 90), "JPEG"))
    del flipped[-180:-174]
    dataset = _photos(tmp_path / "photos")
    write(tmp_path / "photos", {"a/flipped.jpg": bytes(flipped)})
    flags = ["--data", f"--dataset={dataset}", f"--model_dir={tmp_path / 'found'}"]
    assert doctor.main([*flags, "--max_bad_images=3"]) == 0
    said = capsys.readouterr().out
    assert "3 bad ones, of 100 files" in said
    assert "a/flipped.jpg: decodes, with a warning: Corrupt JPEG data" in said
    assert set(_named(tmp_path / "found")) == {*BAD, "a/flipped.jpg"}
    assert doctor.main([*flags, "--max_bad_images=2"]) == 1
