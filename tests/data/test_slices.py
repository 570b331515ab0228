"""Slices of folders and digits, written as TFDS writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_holdout import ids, in_classes, write
from tf_simclr.data import Holdout, open_source, shared_images
from tf_simclr.errors import EmptySplit, UsageError


@pytest.fixture(params=["digits", "folder"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "digits" if request.param == "digits" else in_classes(tmp_path, a=50, b=53, c=40)


@pytest.mark.parametrize(
    "slices",
    [
        ("train[:80%]", "train[80%:]"),
        ("train[:-10%]", "train[-10%:]"),
        ("train[:10]", "train[10:100]", "train[100:]"),
        ("train[:33%]", "train[33%:66%]", "train[66%:]"),
        ("train[:50%]+train[75%:]", "train[50%:75%]"),
    ],
)
def test_slices_are_disjoint_and_together_the_whole(dataset: str, slices: tuple[str, ...]) -> None:
    whole = open_source(dataset, "train")
    parts = [open_source(dataset, part) for part in slices]
    together = [id_ for part in parts for id_ in ids(part)]
    assert sorted(together) == sorted(ids(whole))
    assert len(set(together)) == len(together)
    assert all(part.version != whole.version or part.split != whole.split for part in parts)


def test_a_slice_is_of_all_classes_in_the_order_of_its_split(dataset: str) -> None:
    whole, part = open_source(dataset, "train"), open_source(dataset, "train[:40%]")
    assert part.num_examples == round(0.4 * whole.num_examples)
    sizes, counts = np.bincount(whole.labels()), np.bincount(part.labels())
    assert (np.abs(counts / sizes - 0.4) < 0.2).all()
    place = {id_: number for number, id_ in enumerate(ids(whole))}
    assert (np.diff([place[id_] for id_ in ids(part)]) > 0).all()
    assert ids(open_source(dataset, "train[:40%]")) == ids(part)


@pytest.mark.parametrize("asked", ["[:33%]", "[33%:]", "[-7%:]", "[3:9]", "[:-3]"])
def test_slices_have_the_lengths_that_tfds_gives_them(
    shared: Callable[[str], Path], tmp_path: Path, asked: str
) -> None:
    tfds_source = open_source("cifar10", "test", str(shared("data/tfds")))
    folder = write(tmp_path, *(f"{number}.png" for number in range(17)))
    for dataset, split, count in (("cifar10", "test", tfds_source.num_examples), (folder, "train", 17)):
        part = open_source(dataset, split + asked, str(shared("data/tfds")))
        assert part.num_examples == len(range(count)[_python_slice(asked, count)])


def _python_slice(text: str, count: int) -> slice:
    begin, end = text.strip("[]").split(":")

    def bound(word: str) -> int | None:
        if not word:
            return None
        return round(float(word[:-1]) * count / 100) if word.endswith("%") else int(word)

    return slice(bound(begin), bound(end))


@pytest.mark.parametrize("part", ["train[:101%]", "train[", "train[5%]", "train[:9999]", "train[::2]"])
def test_a_slice_that_is_not_there_is_refused_with_one_that_is(dataset: str, part: str) -> None:
    with pytest.raises(
        UsageError, match=r"train has .* images; slices are written as train\[:80%\]"
    ) as error:
        open_source(dataset, part)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=r"no split 'other\[:80%\]'; available: train"):
        open_source(dataset, "other[:80%]")
    with pytest.raises(EmptySplit, match="is empty"):
        open_source(dataset, "train[:0]")


def test_a_held_out_split_is_sliced_too(tmp_path: Path) -> None:
    dataset = in_classes(tmp_path, a=50, b=50)
    names = ("train[:50%]", "train[50%:]", "test[:50%]", "test[50%:]")
    parts = [open_source(dataset, name, holdout=Holdout(0.2)) for name in names]
    assert [part.num_examples for part in parts] == [40, 40, 10, 10]
    assert len({id_ for part in parts for id_ in ids(part)}) == 100


def test_shared_images_are_counted(dataset: str) -> None:
    opened = [open_source(dataset, part) for part in ("train[:80%]", "train[70%:]", "train[80%:]")]
    assert shared_images(opened[0], opened[2]) == 0
    tenth = opened[0].num_examples / 8
    assert abs(shared_images(opened[0], opened[1]) - tenth) <= 1


def test_shared_images_of_tfds_are_counted(shared: Callable[[str], Path]) -> None:
    def opened(split: str) -> object:
        return open_source("cifar10", split, str(shared("data/tfds")))

    count = opened("train").num_examples
    for one, other, images in (
        ("train[:80%]", "train[80%:]", 0),
        ("train[:80%]", "train[70%:]", round(0.1 * count)),
        ("train", "test", 0),
        ("test[:10]+train[:10]", "train[5:20]", 5),
    ):
        assert shared_images(opened(one), opened(other)) == images
