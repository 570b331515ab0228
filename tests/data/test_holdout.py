"""What --holdout takes for the test: a share of each class, the same in every run of the same images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_simclr.data import Holdout, Source, available_splits, default_eval_split, eval_splits, open_source
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import UsageError

_PNG = tf.io.encode_png(tf.zeros([2, 2, 3], tf.uint8)).numpy()
_FIFTH = Holdout(0.2)
_LABELS = st.lists(st.integers(-1, 4), max_size=120)


def write(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_PNG)
    return f"folder:{root}"


def in_classes(root: Path, **counts: int) -> str:
    return write(root, *(f"{name}/{i}.png" for name, count in counts.items() for i in range(count)))


def ids(source: Source) -> list[str]:
    assert isinstance(source, IndexedSource)
    return [name.decode() for name in source.ids()]


@settings(max_examples=100, deadline=None)
@given(labels=_LABELS, share=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_each_class_gives_its_share(labels: list[int], share: float, seed: int) -> None:
    rows = [(f"{number}.png", label) for number, label in enumerate(labels)]
    train, test = Holdout(share, seed).divide(rows)
    assert sorted(train + test) == sorted(rows)
    assert not set(train) & set(test)
    sizes = Counter(label for _, label in rows if label >= 0)
    held = Counter(label for _, label in test)
    assert -1 not in held
    for label, size in sizes.items():
        wanted = min(max(round(share * size), 1), size - 1) if len(sizes) > 1 else 0
        assert held[label] == wanted


def test_rows_of_a_file_stay_together() -> None:
    rows = [(f"{number // 3}.png", number // 30) for number in range(60)]
    train, test = Holdout(0.5).divide(rows)
    assert len(test) == 30
    assert not {file for file, _ in train} & {file for file, _ in test}


def test_few_images_change_sides_when_some_are_added() -> None:
    rows = [(f"{label}/{number}.png", label) for label in (0, 1) for number in range(100)]
    more = [(f"{label}/new{number}.png", label) for label in (0, 1) for number in range(10)]
    _, before = _FIFTH.divide(rows)
    _, after = _FIFTH.divide(sorted(rows + more))
    assert len(set(before) - set(after)) + len(set(after) - set(before) - set(more)) <= 8
    _, other = Holdout(0.2, seed=1).divide(rows)
    assert len(set(before) & set(other)) < 20


@pytest.mark.parametrize("form", ["folders", "csv", "csv without test", "train folder"])
def test_a_labelled_folder_without_a_test_split_is_divided(tmp_path: Path, form: str) -> None:
    names = [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    labels = ""
    if form == "train folder":
        names = [f"train/{name}" for name in names]
    if form.startswith("csv"):
        rows = [f"{name},{name[0]}" + ",train" * (form != "csv") for name in names]
        (tmp_path / "labels.csv").write_text("\n".join(["file,label" + ",split" * (form != "csv"), *rows]))
        labels = str(tmp_path / "labels.csv")
    place = (write(tmp_path / "images", *names), "", labels)
    assert eval_splits(*place) == []
    assert available_splits(*place, _FIFTH) == ("train", "test")
    assert default_eval_split(*place, _FIFTH) == "test"
    train, test = (open_source(place[0], split, *place[1:], _FIFTH) for split in ("train", "test"))
    assert sorted(ids(train) + ids(test)) == names
    assert test.labels().tolist() == [0, 0, 1, 1]
    assert sorted(ids(test)) == list(test.held_out) == list(train.held_out)
    both = open_source(place[0], "train+test", *place[1:], _FIFTH)
    assert sorted(ids(both)) == names
    assert open_source(place[0], "train", *place[1:]).held_out == ()


def test_what_has_a_test_split_or_no_labels_is_not_divided(tmp_path: Path) -> None:
    unlabelled = write(tmp_path / "flat", "1.png", "2.png")
    album = in_classes(tmp_path / "album", holiday=10)
    singles = in_classes(tmp_path / "singles", a=1, b=1)
    split = write(tmp_path / "split", "train/a/1.png", "train/b/1.png", "train/a/2.png", "val/a/1.png")
    for dataset in (unlabelled, album, singles):
        assert available_splits(dataset, holdout=_FIFTH) == ("train",)
        with pytest.raises(UsageError, match=r"no two classes .*: give folders of classes or --labels"):
            default_eval_split(dataset, holdout=_FIFTH)
    assert available_splits(split, holdout=_FIFTH) == ("train", "val")
    for dataset in (unlabelled, album, singles, split, "digits"):
        whole, asked = open_source(dataset, "train"), open_source(dataset, "train", holdout=_FIFTH)
        assert (asked.version, asked.held_out) == (whole.version, ())


def test_images_without_a_label_are_trained_on(tmp_path: Path) -> None:
    dataset = write(tmp_path, "1.png", "2.png", *(f"{label}/{i}.png" for label in "ab" for i in range(2)))
    train, test = (open_source(dataset, split, holdout=_FIFTH) for split in ("train", "test"))
    assert sorted(train.labels().tolist()) == [-1, -1, 0, 1]
    assert test.labels().tolist() == [0, 1]
    assert test.subset([0]).held_out == test.held_out
