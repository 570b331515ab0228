"""Bad images: found, named, replaced by rule or left out, and what they never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data import bad_files
from tests.data.pictures import encoded, picture, write
from tests.data.test_device_views import assert_same, both
from tf_simclr.data import Sampling, Source, cached, evaluation_batches, open_source, pretraining_batches
from tf_simclr.data.bad_images import BadImages, Policy
from tf_simclr.data.listing import read
from tf_simclr.data.records import MemorySource, StreamSource
from tf_simclr.data.resident import decode_all
from tf_simclr.errors import UsageError

SKIP, COUNT = Policy(skip=True, most=100), 40
BAD = {3: b"", 4: bad_files.PNG[:-40], 17: b"<html>", 39: bad_files.broken_crc()}


def _images(bad: dict[int, bytes]) -> list[bytes]:
    """Each is of a size of its own, so that a view tells which image it is of."""
    return [bad.get(i, encoded(picture(12 + i, 12), "PNG")) for i in range(COUNT)]


def _memory(bad: dict[int, bytes], policy: Policy = SKIP) -> MemorySource:
    labels, ids = np.arange(COUNT) % 3, [f"{i}.png" for i in range(COUNT)]
    source = MemorySource("some", "train", "1", ["a", "b", "c"], images=_images(bad), labels=labels, ids=ids)
    source.bad_images = BadImages("--dataset=some", COUNT, policy)
    return source


def _stream(bad: dict[int, bytes]) -> StreamSource:
    rows = {"image": _images(bad), "label": np.arange(COUNT) % 3, "id": [f"{i}.png" for i in range(COUNT)]}
    stream = tf.data.Dataset.from_tensor_slices(rows)
    source = StreamSource("some", "train", "1", ["a", "b", "c"], stream=stream, num_examples=COUNT)
    source.bad_images = BadImages("--dataset=some", COUNT, SKIP)
    return source


def _batches(source: Source, count: int = 5, **how: Any) -> list[dict[str, np.ndarray]]:
    sampling = Sampling(8, batch_size=16, seed=1, shuffle_buffer=7)
    batches = pretraining_batches(source, sampling, num_uniforms=3, with_index=True, **how)
    return list(batches.take(count).as_numpy_iterator())


def _assert_equal(one: list[Any], other: list[Any]) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("make", [_memory, _stream])
def test_good_images_make_the_batches_that_they_always_made(make: Any) -> None:
    plain = make({})
    plain.bad_images.policy = Policy(skip=False)
    _assert_equal(_batches(plain), _batches(make({})))


def test_a_bad_image_is_replaced_by_the_next_good_one() -> None:
    source, whole = _memory(BAD), _memory({})
    instead = {3: 5, 4: 5, 17: 18, 39: 0}
    for found, asked in zip(_batches(source), _batches(whole), strict=True):
        expected = [instead.get(i, i) for i in asked["index"]]
        assert found["index"].tolist() == expected
        assert found["label"].tolist() == [i % 3 for i in expected]
        np.testing.assert_array_equal(found["uniforms"], asked["uniforms"])
        same = found["index"] == asked["index"]
        np.testing.assert_array_equal(found["views"][same], asked["views"][same])
    reasons = {name: reason for name, (reason, _) in source.bad_images.rows.items()}
    assert reasons.pop("39.png").startswith("damaged PNG")
    assert reasons == {
        "3.png": "empty",
        "4.png": "damaged PNG: Truncated File Read",
        "17.png": "HTML, no image",
    }


def test_the_image_in_its_place_is_drawn_as_its_place_would_be() -> None:
    """As if the file held the other image's bytes."""
    images = _images({})
    twin = _memory({3: images[5], 4: images[5], 17: images[18], 39: images[0]})
    for found, expected in zip(_batches(_memory(BAD)), _batches(twin), strict=True):
        np.testing.assert_array_equal(found["views"], expected["views"])


@pytest.mark.parametrize("make", [_memory, pytest.param(_stream, marks=pytest.mark.slow)])
def test_bad_images_keep_resuming_and_workers_exact(make: Any) -> None:
    undisturbed = _batches(make(BAD), 6)
    _assert_equal(undisturbed[2:], _batches(make(BAD), 4, start_step=2))
    halves = [_batches(make(BAD), 6, worker=i, num_workers=2) for i in range(2)]
    joined = [
        tf.nest.map_structure(lambda *p: np.concatenate(p), *both) for both in zip(*halves, strict=True)
    ]
    _assert_equal(undisturbed, joined)


def test_of_a_stream_the_first_ones_stand_in() -> None:
    source = _stream(BAD)
    assert not set(np.concatenate([batch["index"] for batch in _batches(source)])) & set(BAD)
    assert set(source.bad_images.rows) == {f"{i}.png" for i in BAD}


@pytest.mark.parametrize("make", [_memory, _stream])
def test_an_evaluation_leaves_bad_images_out_and_names_them(make: Any) -> None:
    source = make(BAD)
    batches = list(evaluation_batches(source, image_size=8, batch_size=16).as_numpy_iterator())
    assert [len(batch["id"]) for batch in batches] == [16, 16, 4]
    ids = [name.decode() for batch in batches for name in batch["id"]]
    assert ids == [f"{i}.png" for i in range(COUNT) if i not in BAD]
    assert set(source.bad_images.rows) == {f"{i}.png" for i in BAD}
    assert source.only(np.array(ids)).labels().tolist() == [i % 3 for i in range(COUNT) if i not in BAD]
    whole = evaluation_batches(make(BAD), image_size=8, batch_size=16, replace=True)
    assert sum(len(batch["id"]) for batch in whole.as_numpy_iterator()) == COUNT


def test_an_evaluation_ends_where_too_many_are_bad() -> None:
    source = _memory(BAD, Policy(skip=True, most=2))
    with pytest.raises(tf.errors.OpError):
        list(evaluation_batches(source, image_size=8, batch_size=16))
    error = source.bad_images.over()
    assert error is not None
    assert "--max_bad_images=2 bears 2" in str(error)


@pytest.mark.parametrize("folder", ["", "pixels"])
@pytest.mark.parametrize("make", [_memory, pytest.param(_stream, marks=pytest.mark.slow)])
def test_cached_images_are_replaced_too(make: Any, folder: str, tmp_path: Path) -> None:
    source = make(BAD)
    held = cached(source, 8, str(tmp_path / folder) if folder else "")
    reasons = dict(source.bad_images.rows)
    assert set(reasons) == {f"{i}.png" for i in BAD}
    for found, asked in zip(_batches(held), _batches(cached(make({}), 8)), strict=True):
        assert found["index"].tolist() == [{3: 5, 4: 5, 17: 18, 39: 0}.get(i, i) for i in asked["index"]]
    if folder:  # a later run reads the reasons there
        later = make(BAD)
        _batches(cached(later, 8, str(tmp_path / folder)))
        assert {name: row[0] for name, row in later.bad_images.rows.items()} == {
            name: row[0] for name, row in reasons.items()
        }


def _cached(bad: dict[int, bytes]) -> Source:
    return cached(_memory(bad), 8)


@pytest.mark.parametrize("make", [_memory, _stream, _cached])
def test_the_device_shows_the_same_images_in_their_places(make: Any) -> None:
    source = make(BAD)
    assert_same(*both(source, Sampling(8, batch_size=16, seed=1, shuffle_buffer=7)))
    assert set(source.bad_images.rows) == {f"{i}.png" for i in BAD}


def test_images_for_the_device_end_a_run_at_once_where_too_many_are_bad() -> None:
    with pytest.raises(UsageError, match="--max_bad_images=2 bears 2"):
        decode_all(_memory(BAD, Policy(skip=True, most=2)))
    with pytest.raises(UsageError, match=r"no good image is near '0.png'"):
        decode_all(_memory(dict.fromkeys(range(COUNT), b"")))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_all(_memory(BAD, Policy(skip=False)))


def _folder(root: Path, count: int = 8) -> str:
    return write(
        root, {f"{name}/{i}.png": encoded(picture(12, 12, i), "PNG") for name in "ab" for i in range(count)}
    )


def test_every_kind_is_found_and_named(tmp_path: Path) -> None:
    dataset = _folder(tmp_path)
    reasons = bad_files.write_bad(tmp_path / "a")
    source = open_source(dataset, "train", policy=SKIP)
    at_once = {f"a/{name}": text for name, text in reasons.items() if name not in bad_files.WHEN_DRAWN}
    assert {name: row[0] for name, row in source.bad_images.rows.items()} == at_once
    assert source.num_examples == 16 + len(bad_files.WHEN_DRAWN)
    batches = list(evaluation_batches(source, image_size=8, batch_size=16).as_numpy_iterator())
    assert sum(len(batch["id"]) for batch in batches) == 16
    for name, (_, reason) in bad_files.WHEN_DRAWN.items():
        assert source.bad_images.rows[f"a/{name}"][0].startswith(reason)


def test_a_folder_with_bad_images_has_the_same_views_by_host_and_device(tmp_path: Path) -> None:
    dataset = _folder(tmp_path)
    bad_files.write_bad(tmp_path / "a")
    (tmp_path / "a" / "nearly.jpg").unlink()  # of which the host takes the crops that lie above the cut
    source = open_source(dataset, "train", policy=SKIP)
    assert_same(*both(source, Sampling(8, batch_size=16, seed=1)))
    assert set(source.bad_images.rows) > {f"a/{name}" for name in bad_files.WHEN_DRAWN} - {"a/nearly.jpg"}


def test_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    import resource

    from tf_simclr.data.decoding import decode_image

    bomb = bad_files.png_bomb(20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(bomb))
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    )  # KB; decoded it has 1,200,000
    small = open_source(_folder(tmp_path), "train", policy=Policy(True, 100, max_pixels=144))
    assert small.num_examples == 16
    with pytest.raises(UsageError, match="split 'train' is empty"):
        open_source(f"folder:{tmp_path}", "train", policy=Policy(True, 100, max_pixels=143))


def test_fail_names_the_first_bad_file(tmp_path: Path) -> None:
    dataset = _folder(tmp_path)
    (tmp_path / "a" / "x.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"image 'a/x.jpg' can't be decoded \(empty\); replace or remove it"):
        open_source(dataset, "train")
    with pytest.raises(UsageError, match=r"1 of 17 images can't be decoded.*--max_bad_images=0.01 bears 0"):
        open_source(dataset, "train", policy=Policy(skip=True))


def test_a_folder_counts_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    dataset = _folder(tmp_path / "photos")
    (tmp_path / "photos" / "loop").symlink_to(".")
    (tmp_path / "photos" / "a" / "up").symlink_to("..")
    (tmp_path / "photos" / "above").symlink_to("..")
    (tmp_path / "photos" / "alias").symlink_to("a")
    assert open_source(dataset, "train").num_examples == 16
    write(tmp_path / "elsewhere", {"1.png": bad_files.PNG})
    for name in ("c", "d"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere")
    assert open_source(dataset, "train").class_names == ("a", "b", "c")


def test_a_training_keeps_the_images_that_it_began_with(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    dataset = _folder(root)
    (root / "b" / "late.png").write_bytes(b"")
    first = open_source(dataset, "train", policy=SKIP)
    assert first.listing is not None
    first.listing.write(tmp_path / "listing.npz")
    kept = read(tmp_path / "listing.npz")
    before = _batches(first)

    (root / "b" / "late.png").write_bytes(bad_files.PNG)  # mended
    write(root, {"a/added.png": bad_files.PNG, "c/new.png": bad_files.PNG})
    (root / "b" / "7.png").unlink()
    second = open_source(dataset, "train", policy=SKIP, kept=kept)
    assert (second.version, second.class_names) == (first.version, first.class_names)
    assert second.bad_images.rows == {"b/late.png": ("empty", "scan")}
    assert second.census is not None
    assert any("2 images that the run did not begin with" in line for line in second.census.lines("train"))
    assert any("1 images that the run began with are gone" in line for line in second.census.lines("train"))
    for found, asked in zip(_batches(second), before, strict=True):
        assert found["index"].tolist() == [0 if i == 15 else i for i in asked["index"]]  # 15 is b/7.png
    assert second.bad_images.rows["b/7.png"][0] == "gone"


def test_an_image_that_changed_its_class_is_another_data_set(tmp_path: Path) -> None:
    dataset = _folder(tmp_path)
    labels = tmp_path / "labels.csv"
    labels.write_text("a/1.png,x\na/2.png,y\nb/1.png,x\n")
    kept = open_source(dataset, "train", labels_csv=str(labels)).listing
    labels.write_text("a/1.png,x\na/2.png,x\nb/1.png,y\n")
    with pytest.raises(
        UsageError, match=r"'a/2.png' was of class y .* give another --model_dir|'b/1.png' was of"
    ):
        open_source(dataset, "train", labels_csv=str(labels), kept=kept)


def test_a_csv_keeps_its_order_and_its_other_splits(tmp_path: Path) -> None:
    dataset, labels = _folder(tmp_path), tmp_path / "labels.csv"
    labels.write_text("file,label,split\nb/1.png,x,train\na/2.png,y,test\na/1.png,y,train\nb/2.png,x,test\n")
    first = open_source(dataset, "train", labels_csv=str(labels), policy=SKIP)
    (tmp_path / "a" / "1.png").unlink()
    for split, names in (("train", [b"b/1.png", b"a/1.png"]), ("test", [b"a/2.png", b"b/2.png"])):
        source = open_source(dataset, split, labels_csv=str(labels), policy=SKIP, kept=first.listing)
        assert [name.encode() for name in source.names()] == names


def test_what_is_held_out_stays_held_out(tmp_path: Path) -> None:
    from tf_simclr.data import Holdout

    dataset, part = _folder(tmp_path), Holdout(0.25)
    kept = open_source(dataset, "train", holdout=part).listing
    before = open_source(dataset, "test", holdout=part)
    write(tmp_path, {f"a/more{i}.png": bad_files.PNG for i in range(20)})
    after = open_source(dataset, "test", holdout=part, kept=kept)
    assert after.ids().tolist() == before.ids().tolist()  # type: ignore[attr-defined]
    assert after.held_out == before.held_out
