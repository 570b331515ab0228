"""A folder shrunk once is the same data set, with fewer pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.bad_files import WHEN_DRAWN
from tests.data.pictures import encoded, picture
from tf_simclr import data, shrink
from tf_simclr.data import shrinking
from tf_simclr.data.bad_images import Policy
from tf_simclr.data.records import FileSource, Source

SIZE, COVERED = 20, 23
SKIP = Policy(skip=True, most=0.5)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two splits and three classes, one of them of a bad image alone; one image too small to shrink."""
    root = tmp_path / "photographs"
    files = {
        "train/cat/b.jpg": encoded(picture(60, 90), "JPEG"),
        "train/cat/a.png": encoded(picture(12, 40), "PNG"),
        "train/dog/nested/c.bmp": encoded(picture(50, 30), "BMP"),
        "train/dog/d.webp": encoded(picture(64, 64), "WEBP"),
        "train/bad/half.jpg": WHEN_DRAWN["half.jpg"][0],
        "train/loose.jpg": encoded(picture(80, 30), "JPEG"),
        "test/dog/e.jpg": encoded(picture(46, 46), "JPEG"),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def run(photographs: Path, *more: str) -> int:
    flags = [f"--dataset=folder:{photographs}", f"--image_size={SIZE}", "--max_bad_images=0.5", *more]
    return shrink.main([*flags, f"--output_dir={photographs.parent / 'small'}"])


def opened(folder: Path, split: str) -> FileSource:
    source = data.open_source(f"folder:{folder}", split, policy=SKIP)
    assert isinstance(source, FileSource)
    return source


def pixels(source: Source) -> dict[str, np.ndarray]:
    found = source.records().map(lambda record: (record["id"], source.decode(record["image"])))
    return {name.decode(): image for name, image in found.ignore_errors().as_numpy_iterator()}


def test_names_labels_classes_and_order_stay(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photographs) == 0
    small = photographs.parent / "small"
    for split in ("train", "test"):
        before, after = opened(photographs, split), opened(small, split)
        assert after.class_names == before.class_names == ("bad", "cat", "dog")
        rows = list(zip(before.names(), before.labels().tolist(), strict=True))
        assert list(zip(after.names(), after.labels().tolist(), strict=True)) == [
            row for row in rows if row[0] != "train/bad/half.jpg"
        ]
    said = capsys.readouterr().out
    assert "train/bad/half.jpg: JPEG that is cut short" in said
    assert "shrink: 6 images, 5 of them shrunk now" in said


def test_sides_are_those_of_the_cache_and_small_images_keep_their_bytes(photographs: Path) -> None:
    run(photographs)
    small = photographs.parent / "small"
    name = "train/cat/a.png"
    assert (small / name).read_bytes() == (photographs / name).read_bytes()
    cached = data.cached(opened(photographs, "train"), SIZE)
    kept, found = pixels(cached), pixels(opened(small, "train"))
    assert {name: image.shape for name, image in found.items()} == {
        name: image.shape for name, image in kept.items()
    }
    assert found["train/cat/b.jpg"].shape == (COVERED, 34, 3)
    for name, image in found.items():  # but for JPEG's loss, which halves the colours' resolution
        assert np.abs(image.mean(axis=(0, 1)) - kept[name].mean(axis=(0, 1))).max() < 3
        grey, kept_grey = (
            np.asarray(Image.fromarray(one).convert("L"), float) for one in (image, kept[name])
        )
        assert np.abs(grey - kept_grey).mean() < 6


def test_a_quality_is_a_size(photographs: Path) -> None:
    name = "train/cat/b.jpg"
    run(photographs)
    fine = (photographs.parent / "small" / name).stat().st_size
    (photographs.parent / "small").rename(photographs.parent / "fine")
    run(photographs, "--jpeg_quality=20")
    assert (photographs.parent / "small" / name).stat().st_size < 0.9 * fine


def test_an_end_by_force_leaves_nothing_and_the_next_run_goes_on(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, partial = photographs.parent / "small", photographs.parent / ".small.partial"
    written: list[str] = []

    def failing(at: int) -> Callable[[Path, bytes | str], None]:
        def write(path: Path, content: bytes | str) -> None:
            if len(written) == at:
                raise KeyboardInterrupt
            written.append(path.name)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

        return write

    monkeypatch.setattr(shrinking, "write_whole", failing(at=4))
    assert run(photographs) == 130
    assert not small.exists()
    assert "small" not in "".join(
        data.open_source(f"folder:{photographs.parent}", "train", policy=SKIP).names()
    )
    (partial / "train" / ".b.jpg.0123.partial").write_bytes(b"half an ima")
    before = set(written)
    written.clear()
    monkeypatch.setattr(shrinking, "write_whole", failing(at=-1))
    assert run(photographs) == 0
    assert set(written) & before == {shrinking.SETTINGS}
    assert not partial.exists()
    assert not list(small.rglob("*.partial"))
    assert len(opened(small, "train").names()) == 5


def test_what_is_whole_is_left_and_what_is_not_of_these_flags_is_refused(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(photographs)
    written = {path: path.stat().st_mtime_ns for path in (photographs.parent / "small").rglob("*")}
    assert run(photographs) == 0
    assert "is whole already" in capsys.readouterr().out
    assert run(photographs, "--jpeg_quality=90") == 2
    assert "is there already, and not of these flags" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (photographs.parent / "small").rglob("*")} == written


def test_a_csv_names_the_same_files(photographs: Path) -> None:
    rows = photographs.parent / "labels.csv"
    rows.write_text("file,label\ntrain/dog/d.webp,spotted\ntrain/cat/b.jpg,plain\n")
    assert run(photographs, f"--labels={rows}") == 0
    again = data.open_source(f"folder:{photographs.parent / 'small'}", "train", labels_csv=str(rows))
    assert isinstance(again, FileSource)
    assert again.names() == ["train/dog/d.webp", "train/cat/b.jpg"]
    assert again.class_names == ("plain", "spotted")
    assert not (photographs.parent / "small" / "train" / "loose.jpg").exists()


def test_an_image_that_becomes_a_split_by_a_bad_neighbour_is_no_silent_change(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad image beside train and test makes classes of them; without it they would be splits."""
    (photographs / "half.jpg").write_bytes(WHEN_DRAWN["half.jpg"][0])
    assert run(photographs) == 2
    assert "would be read otherwise" in capsys.readouterr().err
    assert not (photographs.parent / "small").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset=digits", "--output_dir=x"], "--dataset=digits: shrink takes folders of images"),
        (["--dataset=folder:x"], "--output_dir is required"),
        (["--dataset=folder:x", "--output_dir=x/y"], "--output_dir=x/y lies in --dataset"),
        (["--dataset=folder:x", "--output_dir=gs://b/y"], "--output_dir=gs://b/y: give a folder on this"),
        (["--dataset=folder:nowhere", "--output_dir=/dev/null/y"], "--output_dir=/dev/null/y: cannot be"),
        (["--dataset=folder:nowhere", "--output_dir=y"], "there is no such folder"),
        (["--output_dir=y"], "--dataset is required"),
    ],
)
def test_mistakes_are_a_line(
    flags: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shrink.main(flags) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_grey_stays_one_channel_and_turned_images_are_upright(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    image = Image.fromarray(picture(60, 90))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "in" / "turned.jpg", exif=exif)
    flags = [f"--dataset=folder:{tmp_path / 'in'}", f"--image_size={SIZE}", "--exif=apply", "--channels=1"]
    assert shrink.main([*flags, f"--output_dir={tmp_path / 'out'}"]) == 0
    stored = Image.open(tmp_path / "out" / "turned.jpg")
    assert (stored.mode, stored.size) == ("L", (COVERED, 34))
    assert tf.io.is_jpeg((tmp_path / "out" / "turned.jpg").read_bytes())
