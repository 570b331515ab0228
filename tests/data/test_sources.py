"""Opening data sets: digits, folders in every layout, CSVs, TFDS, and what goes wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data.pictures import encoded, picture
from tf_simclr.data import Source, available_splits, default_eval_split, open_source, tfds_source
from tf_simclr.errors import UsageError

_PNG = tf.io.encode_png(tf.zeros([2, 2, 3], tf.uint8)).numpy()


def _touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_PNG)
    return f"folder:{root}"


def _rows(source: Source) -> list[tuple[str, int]]:
    return [(row["id"].decode(), int(row["label"])) for row in source.records().as_numpy_iterator()]


def test_digits_have_a_fixed_stratified_split() -> None:
    train, test = open_source("digits", "train"), open_source("digits", "test")
    assert (train.num_examples, test.num_examples, train.num_classes) == (1437, 360, 10)
    ids = [name for source in (train, test) for name, _ in _rows(source)]
    assert len(set(ids)) == 1797
    assert np.bincount(test.labels()).tolist() == pytest.approx([36] * 10, abs=1)
    again = open_source("digits", "test")
    assert _rows(test) == _rows(again)


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    record = next(iter(open_source("digits", "test").records()))
    index = int(record["id"].numpy().decode().removeprefix("digits-"))
    image = open_source("digits", "test").decode(record["image"]).numpy()
    np.testing.assert_allclose(image[..., 0] / 255 * 16, load_digits().images[index], atol=0.04)
    assert (image[..., :1] == image).all()
    assert record["label"] == load_digits().target[index]


def test_folders_are_classes(tmp_path: Path) -> None:
    dataset = _touch(tmp_path, "dog/b.PNG", "dog/a.jpg", "cat/deep/c.Jpeg", "cat/z.bmp", "dog/.hidden.png")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    source = open_source(dataset, "train")
    assert source.class_names == ("cat", "dog")
    assert _rows(source) == [("cat/z.bmp", 0), ("cat/deep/c.Jpeg", 0), ("dog/a.jpg", 1), ("dog/b.PNG", 1)]
    assert available_splits(dataset) == ("train",)


def test_images_straight_in_the_folder_are_unlabelled(tmp_path: Path) -> None:
    source = open_source(_touch(tmp_path, "b.gif", "a.jpg"), "train")
    assert _rows(source) == [("a.jpg", -1), ("b.gif", -1)]
    assert source.num_classes == 0
    mixed = open_source(_touch(tmp_path, "cat/c.jpg"), "train")
    assert mixed.labels().tolist() == [-1, -1, 0]


def test_folders_named_as_splits_are_splits(tmp_path: Path) -> None:
    dataset = _touch(tmp_path, "train/b/1.png", "train/a/2.png", "val/b/3.png", "val/c/4.png")
    (tmp_path / "README.txt").write_text("beside the splits")
    assert available_splits(dataset) == ("train", "val")
    assert default_eval_split(dataset) == "val"
    validation = open_source(dataset, "val")
    assert validation.class_names == ("a", "b", "c")  # numbered alike in every split
    assert _rows(validation) == [("val/b/3.png", 1), ("val/c/4.png", 2)]
    assert open_source(dataset, "train").labels().tolist() == [0, 1]


def test_split_names_beside_other_folders_are_classes(tmp_path: Path) -> None:
    dataset = _touch(tmp_path, "train/1.png", "tram/2.png")
    assert open_source(dataset, "train").class_names == ("train", "tram")


def test_version_follows_the_listing(tmp_path: Path) -> None:
    dataset = _touch(tmp_path, "1.png")
    before = open_source(dataset, "train").version
    assert open_source(dataset, "train").version == before
    _touch(tmp_path, "2.png")
    assert open_source(dataset, "train").version != before


@pytest.mark.parametrize("header", ["", "file,label\n"])
def test_a_csv_names_the_labels(tmp_path: Path, header: str) -> None:
    dataset = _touch(tmp_path / "images", "1.png", "sub/2.png", "3.png")
    labels = tmp_path / "labels.csv"
    labels.write_text(header + "3.png,dog\nsub/2.png,cat\n\n")
    source = open_source(dataset, "train", labels_csv=str(labels))
    assert _rows(source) == [("3.png", 1), ("sub/2.png", 0)]
    assert source.class_names == ("cat", "dog")
    labels.write_text(header + "3.png,2\n1.png,0\n")
    source = open_source(dataset, "train", labels_csv=str(labels))
    assert _rows(source) == [("3.png", 2), ("1.png", 0)]
    assert source.class_names == ("0", "1", "2")


@pytest.mark.parametrize("number", ["100000", "99999999999999", "02084071", "9" * 5000])
def test_large_numbers_in_a_csv_are_names(tmp_path: Path, number: str) -> None:
    """WordNet's offsets, identities, times: a class for every number up to them is nobody's meaning."""
    dataset, labels = _touch(tmp_path / "images", "1.png", "2.png"), tmp_path / "labels.csv"
    labels.write_text(f"1.png,{number}\n2.png,3\n")
    source = open_source(dataset, "train", labels_csv=str(labels))
    assert source.class_names == tuple(sorted([number, "3"]))
    assert sorted(_rows(source)) == [
        ("1.png", source.class_names.index(number)),
        ("2.png", source.class_names.index("3")),
    ]


def test_a_csv_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--labels=.*none.csv: there is no such file"):
        open_source(f"folder:{tmp_path}", "train", labels_csv=str(tmp_path / "none.csv"))


def test_a_spreadsheets_csv_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    dataset, labels = _touch(tmp_path / "images", "1.png", "2.png"), tmp_path / "labels.csv"
    labels.write_text("file,label\n1.png,cat\n2.png,dog\n", encoding="utf-8-sig")
    assert _rows(open_source(dataset, "train", labels_csv=str(labels))) == [("1.png", 0), ("2.png", 1)]


def test_a_csv_serves_all_splits(tmp_path: Path) -> None:
    dataset = _touch(tmp_path, "train/1.png", "test/2.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("train/1.png,b\ntest/2.png,a\n")
    assert _rows(open_source(dataset, "train", labels_csv=str(labels))) == [("train/1.png", 1)]
    assert _rows(open_source(dataset, "test", labels_csv=str(labels))) == [("test/2.png", 0)]


@pytest.mark.parametrize("header", ["file,label,split", "Split,File,Label", "label,split,file"])
def test_a_csv_names_the_splits(tmp_path: Path, header: str) -> None:
    dataset = _touch(tmp_path / "images", *(f"{number}.png" for number in range(5)))
    rows = [("4.png", "cat", "val"), ("1.png", "dog", "train"), ("0.png", "cat", "train")]
    columns = [("file", "label", "split").index(name) for name in header.lower().split(",")]
    lines = [",".join(row[column] for column in columns) for row in rows]
    labels = str(tmp_path / "labels.csv")
    Path(labels).write_text("\n".join([header, *lines]))
    assert available_splits(dataset, labels_csv=labels) == ("train", "val")
    assert default_eval_split(dataset, labels_csv=labels) == "val"
    assert _rows(open_source(dataset, "train", labels_csv=labels)) == [("1.png", 1), ("0.png", 0)]
    assert _rows(open_source(dataset, "val", labels_csv=labels)) == [("4.png", 0)]
    assert open_source(dataset, "val", labels_csv=labels).class_names == ("cat", "dog")
    both = open_source(dataset, "train+val", labels_csv=labels)
    assert _rows(both) == [("4.png", 0), ("1.png", 1), ("0.png", 0)]  # in the order of the CSV
    with pytest.raises(UsageError, match="no split 'test'; available: train, val"):
        open_source(dataset, "test", labels_csv=labels)


def test_a_csv_does_not_split_a_folder_of_splits(tmp_path: Path) -> None:
    dataset, labels = _touch(tmp_path / "images", "train/1.png", "test/2.png"), tmp_path / "labels.csv"
    labels.write_text("file,label,split\ntrain/1.png,a,train\ntest/2.png,b,test\n")
    with pytest.raises(
        UsageError, match="the folders train, test, which are splits too; leave the column out"
    ):
        open_source(dataset, "train", labels_csv=str(labels))
    labels.write_text("file,label\ntrain/1.png,a\ntest/2.png,b\n")  # as it says
    assert _rows(open_source(dataset, "train", labels_csv=str(labels))) == [("train/1.png", 0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.png,0\nlost.png,1\n", "'lost.png'"),
        ("1.png,-3\n", "-3"),
        ("1.png\n", "file,label"),
        ("file,label\n", "no rows"),
        ("1.png,a\n1.png,b\n", "'1.png' is labelled 'a' and 'b'"),
        ("Filename,Class\n1.png,a\n", "a header would be file,label"),
        ("1.png,a,train\n", "a third column needs the header file,label,split"),
        ("file,label,split\n1.png,a\n", "each row must be file,label,split; found '1.png,a'"),
        ("file,label,split\n1.png,a,\n", "each row must be file,label,split"),
        ("file,label,split\n1.png,a,dev\n", "no split 'dev'; write one of train, test, validation, val"),
        ("split,file,label\ntrain,1.png,a\ntest,1.png,a\n", "'1.png' is in split 'train' and 'test'"),
    ],
)
def test_a_bad_csv_is_named(tmp_path: Path, rows: str, message: str) -> None:
    dataset = _touch(tmp_path / "images", "1.png")
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(UsageError, match=message) as error:
        open_source(dataset, "train", labels_csv=str(tmp_path / "labels.csv"))
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_mistakes_in_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        open_source(f"folder:{tmp_path}/absent", "train")
    with pytest.raises(UsageError, match="empty"):
        open_source(f"folder:{tmp_path}", "train")
    dataset = _touch(tmp_path, "1.png")
    with pytest.raises(UsageError, match=r"no split 'test'; available: train"):
        open_source(dataset, "test")
    with pytest.raises(UsageError, match=r"hold a part out by --holdout=0\.2, put the images in two folders"):
        default_eval_split(dataset)
    with pytest.raises(UsageError, match=r"absent\.csv"):
        open_source(dataset, "train", labels_csv=str(tmp_path / "absent.csv"))
    with pytest.raises(UsageError, match="--labels"):
        open_source("digits", "train", labels_csv="labels.csv")


def test_mistakes_in_a_name_are_one_line_and_quick(
    shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tfds_source, "_offline", lambda: True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "of me").mkdir(parents=True)
    (tmp_path / "cifar10").mkdir()  # a folder of that name does not hide the data set
    data_dir = str(shared("data/tfds"))
    cases = [
        ("no_such_set", "train", data_dir, "no such TFDS data set"),
        (str(tmp_path), "train", "", "for a folder of images write --dataset=folder:PATH"),
        ("photos/of me", "train", "", "for a folder of images write --dataset=folder:PATH"),
        ("cifar10:9.9.9", "train", data_dir, "9.9.9"),
        ("cifar10", "validation", data_dir, "available: train, test"),
        ("cifar10", "train[:0]", data_dir, "empty"),
        ("cifar10", "train", str(tmp_path), "--data_dir"),
        ("digits", "validation", "", "available: train, test"),
    ]
    start = time.monotonic()
    for dataset, split, folder, message in cases:
        with pytest.raises(UsageError) as error:
            open_source(dataset, split, data_dir=folder)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert time.monotonic() - start < 20


def test_tfds_images_stay_encoded(shared: Callable[[str], Path]) -> None:
    data_dir = str(shared("data/tfds"))
    source = open_source("cifar10", "test[:30]", data_dir=data_dir)
    assert (source.num_examples, source.version) == (30, "3.0.2")
    rows = list(source.records().as_numpy_iterator())
    assert rows[0]["image"][:2] == b"\xff\xd8"  # a JPEG
    assert len({row["id"] for row in rows}) == 30
    np.testing.assert_array_equal(source.labels(), [row["label"] for row in rows])
    assert default_eval_split("cifar10", data_dir) == "test"


def test_a_subset_holds_the_chosen_records(shared: Callable[[str], Path], tmp_path: Path) -> None:
    chosen = np.array([1, 4, 5])
    for source in (
        open_source("cifar10", "test[:8]", data_dir=str(shared("data/tfds"))),
        open_source(_touch(tmp_path, *(f"c{i}/{i}.png" for i in range(8))), "train"),
    ):
        subset = source.subset(chosen)
        assert subset.num_examples == 3
        assert subset.class_names == source.class_names
        assert _rows(subset) == [_rows(source)[index] for index in chosen]
        assert subset.version == source.subset(chosen).version != source.subset(np.array([1, 4])).version


class TinyVoc(tfds.core.GeneratorBasedBuilder):
    """Two images with lists of labels, as VOC has them; builders register under their name."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        names = tfds.features.ClassLabel(names=["bird", "cat", "dog"])
        lists = {key: tfds.features.Sequence(names) for key in ("labels", "labels_no_difficult")}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({**lists, "image": tfds.features.Image()})
        )

    def _split_generators(self, manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        image = np.zeros([4, 4, 3], np.uint8)
        yield 0, {"image": image, "labels": [0, 2, 2], "labels_no_difficult": [2]}
        yield 1, {"image": image, "labels": [], "labels_no_difficult": []}


@pytest.mark.slow
def test_several_labels_an_image_are_a_vector_in_which_difficult_ones_do_not_count(tmp_path: Path) -> None:
    TinyVoc(data_dir=str(tmp_path)).download_and_prepare()
    source = open_source("tiny_voc", "train", data_dir=str(tmp_path))
    assert source.multi_label
    assert source.class_names == ("bird", "cat", "dog")
    assert sorted(source.labels().tolist()) == [[-1, 0, 1], [0, 0, 0]]
    part = source.subset(np.array([0]))
    assert part.multi_label
    assert part.labels().shape == (1, 3)


def test_splits_of_a_folder_can_be_joined(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "0.png").write_bytes(encoded(picture(4, 4), "PNG"))
    both = open_source(f"folder:{tmp_path}", "train+val")
    assert [record["id"].numpy() for record in both.records().take(2)] == [b"train/a/0.png", b"val/a/0.png"]
    with pytest.raises(UsageError, match="no split"):
        open_source(f"folder:{tmp_path}", "train+test")
