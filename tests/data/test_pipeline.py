"""Order, resuming, worker slices, caching and evaluation batches, for every kind of source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.data import (
    Sampling,
    Source,
    cache,
    cached,
    evaluation_batches,
    open_source,
    pretraining_batches,
    training_batches,
    undecodable_image,
)
from tf_simclr.data.decoding import decode_image
from tf_simclr.data.records import MemorySource, StreamSource
from tf_simclr.errors import UsageError

SIZE = 8
COUNT = 10


def _png(value: int, side: int = 12) -> bytes:
    noise = tf.random.stateless_uniform([side, side, 3], [value, 0], 0, 256, tf.int32)
    return tf.io.encode_png(tf.cast(noise, tf.uint8)).numpy()


def _memory_source() -> MemorySource:
    labels = np.arange(COUNT)  # a label names its record
    names = [f"class{label}" for label in labels]
    images = [_png(int(label)) for label in labels]
    return MemorySource("toy", "train", "1", names, images=images, labels=labels, ids=names)


def _stream_source() -> StreamSource:
    memory = _memory_source()
    return StreamSource("toy", "train", "1", memory.class_names, stream=memory.records(), num_examples=COUNT)


@pytest.fixture(params=["memory", "file", "stream", "cached"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "file":
        for label in range(COUNT):
            (tmp_path / f"class{label}").mkdir()
            (tmp_path / f"class{label}" / "image.png").write_bytes(_png(label))
        return open_source(f"folder:{tmp_path}", "train")
    if request.param == "stream":
        return _stream_source()
    return cached(_memory_source(), 12) if request.param == "cached" else _memory_source()


def _pretraining(source: Source, **changes: object) -> tf.data.Dataset:
    options = {"image_size": SIZE, "batch_size": 4, "seed": 3, "shuffle_buffer": 4, **changes}
    fields = {field.name for field in dataclasses.fields(Sampling)}
    sampling = Sampling(**{name: value for name, value in options.items() if name in fields})
    others = {name: value for name, value in changes.items() if name not in fields}
    return pretraining_batches(source, sampling, **{"num_uniforms": 2, **others})


def _take(batches: tf.data.Dataset, count: int) -> list[dict[str, np.ndarray]]:
    return list(batches.take(count).as_numpy_iterator())


def _assert_equal(actual: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    assert len(actual) == len(expected) > 0
    for one, other in zip(actual, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_batches_have_static_shapes(source: Source) -> None:
    spec = _pretraining(source).element_spec
    assert spec["views"] == tf.TensorSpec([4, 2, SIZE, SIZE, 3], tf.uint8)
    assert spec["uniforms"] == tf.TensorSpec([4, 2, 2], tf.float32)
    assert spec["label"] == tf.TensorSpec([4], tf.int64)
    spec = training_batches(source, Sampling(SIZE, 4, seed=3)).element_spec
    assert spec["image"] == tf.TensorSpec([4, SIZE, SIZE, 3], tf.uint8)


def test_a_run_resumes_exactly_at_any_step(source: Source) -> None:
    undisturbed = _take(_pretraining(source), 9)
    for step in (1, 5, 7):  # within an epoch, at an epoch's end (20 of 10 a), beyond
        _assert_equal(_take(_pretraining(source, start_step=step), 9 - step), undisturbed[step:])


def test_training_batches_resume_exactly(source: Source) -> None:
    sampling = Sampling(SIZE, 4, seed=3, shuffle_buffer=4)
    for options in ({"augment": True}, {"augment": False}, {"num_uniforms": 3}):
        undisturbed = _take(training_batches(source, sampling, **options), 6)
        resumed = _take(training_batches(source, sampling, **options, start_step=4), 2)
        _assert_equal(resumed, undisturbed[4:])


def test_training_batches_draw_for_the_augmentations_of_each_image(source: Source) -> None:
    sampling = Sampling(SIZE, 4, seed=3)
    assert "uniforms" not in training_batches(source, sampling).element_spec
    batches = training_batches(source, sampling, num_uniforms=3)
    assert batches.element_spec["uniforms"] == tf.TensorSpec([4, 3], tf.float32)
    drawn = np.concatenate([batch["uniforms"] for batch in _take(batches, 6)])
    assert len(np.unique(drawn)) == drawn.size
    assert 0 <= drawn.min() < drawn.max() < 1


def test_workers_slices_make_up_the_batch(source: Source) -> None:
    whole = _take(_pretraining(source, start_step=1), 4)
    slices = [_take(_pretraining(source, start_step=1, worker=w, num_workers=2), 4) for w in range(2)]
    joined = [
        {key: np.concatenate([one[key], other[key]]) for key in one}
        for one, other in zip(*slices, strict=True)
    ]
    _assert_equal(joined, whole)


def test_every_epoch_has_every_record_once_in_an_order_of_its_own(source: Source) -> None:
    labels = np.concatenate([batch["label"] for batch in _take(_pretraining(source, batch_size=5), 8)])
    epochs = labels.reshape(4, COUNT)
    assert (np.sort(epochs, axis=1) == np.arange(COUNT)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert not (epochs[0] == np.arange(COUNT)).all()


def test_order_and_draws_depend_on_the_seed_alone(source: Source) -> None:
    first = _take(_pretraining(source), 3)
    try:
        tf.random.set_seed(0)
        _assert_equal(_take(_pretraining(source), 3), first)
    finally:
        tf.random.set_seed(None)
    other = _take(_pretraining(source, seed=4), 3)
    assert any((one["label"] != two["label"]).any() for one, two in zip(first, other, strict=True))
    assert not np.allclose(first[0]["uniforms"], other[0]["uniforms"])


def test_every_view_draws_its_own_numbers() -> None:
    batches = _take(_pretraining(_memory_source(), batch_size=COUNT, num_uniforms=5), 40)
    uniforms = np.concatenate([batch["uniforms"] for batch in batches])  # [400, 2, 5]
    assert len(np.unique(uniforms)) > 0.999 * uniforms.size
    np.testing.assert_allclose(uniforms.mean(axis=0), 0.5, atol=0.07)
    np.testing.assert_allclose(uniforms.std(axis=0), 12**-0.5, atol=0.03)
    assert abs(np.corrcoef(uniforms[:, 0, 0], uniforms[:, 1, 0])[0, 1]) < 0.2
    views = np.concatenate([batch["views"] for batch in batches])
    same = (views[:, 0] == views[:, 1]).all(axis=(1, 2, 3))
    assert same.mean() < 0.02


def test_positions_beyond_32_bits_draw_fresh_numbers() -> None:
    step = 2**31  # of 4 images each
    late = _take(_pretraining(_memory_source(), start_step=step), 1)[0]["uniforms"]
    for other in (0, step // 2, step - 1, 2**29):
        assert not np.isin(
            late, _take(_pretraining(_memory_source(), start_step=other), 1)[0]["uniforms"]
        ).any()


def test_an_index_is_the_place_in_the_sources_order(source: Source) -> None:
    plain, indexed = _take(_pretraining(source), 6), _take(_pretraining(source, with_index=True), 6)
    for batch in indexed:
        index = batch.pop("index")
        assert index.dtype == np.int64
        np.testing.assert_array_equal(index, batch["label"])  # a label names its record
    _assert_equal(indexed, plain)
    part = source.subset(np.array([1, 4, 5, 8]))
    (batch,) = _take(_pretraining(part, with_index=True), 1)
    np.testing.assert_array_equal(np.array([1, 4, 5, 8])[batch["index"]], batch["label"])


def test_views_are_as_many_as_asked_for(source: Source) -> None:
    spec = _pretraining(source, num_views=3).element_spec
    assert spec["views"] == tf.TensorSpec([4, 3, SIZE, SIZE, 3], tf.uint8)
    assert spec["uniforms"] == tf.TensorSpec([4, 3, 2], tf.float32)
    batch = _take(_pretraining(source, num_views=3), 1)[0]
    assert len(np.unique(batch["uniforms"])) == batch["uniforms"].size


def test_a_shared_crop_is_that_of_the_first_view(source: Source) -> None:
    for own, shared in zip(
        _take(_pretraining(source), 3), _take(_pretraining(source, shared_crop=True), 3), strict=True
    ):
        np.testing.assert_array_equal(shared["views"], np.stack([own["views"][:, 0]] * 2, axis=1))
        assert (own["views"][:, 0] != own["views"][:, 1]).any()
        _assert_equal([{**shared, "views": own["views"]}], [own])


def test_crop_and_flip_can_be_turned_off() -> None:
    source = _memory_source()
    batch = _take(_pretraining(source, image_size=12, crop_area_min=1.0, flip=False, seed=1), 1)[0]
    # An area of 1 fits a square image at aspect 1 only: the fallback is the whole image.
    for label, views in zip(batch["label"], batch["views"], strict=True):
        np.testing.assert_array_equal(views[0], decode_image(_png(int(label))))
        np.testing.assert_array_equal(views[1], views[0])


def test_without_augmentation_the_view_is_the_evaluation_view() -> None:
    source = _memory_source()
    batch = _take(training_batches(source, Sampling(12, 4, seed=0), augment=False), 1)[0]
    for label, image in zip(batch["label"], batch["image"], strict=True):
        np.testing.assert_array_equal(image, decode_image(_png(int(label))))


def test_evaluation_takes_every_image_once_in_order(source: Source) -> None:
    batches = _take(evaluation_batches(source, image_size=SIZE, batch_size=4), 99)
    assert [len(batch["label"]) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([batch["label"] for batch in batches]), np.arange(COUNT))
    assert batches[0]["image"].dtype == np.float32
    assert 0 <= batches[0]["image"].min() < batches[0]["image"].max() <= 1
    assert batches[0]["id"][3].startswith(b"class3")


@pytest.fixture(params=["memory", "files"])
def cache_dir(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "" if request.param == "memory" else str(tmp_path / "cache")


def test_a_cached_source_has_the_same_small_images(cache_dir: str) -> None:
    kept, plain = cached(_memory_source(), 12, cache_dir), _memory_source()
    _assert_equal(*(_take(_pretraining(one, image_size=12), 3) for one in (kept, plain)))
    shrunk = cached(_memory_source(), 4, cache_dir)
    record = next(iter(shrunk.records()))
    assert shrunk.decode(record["image"]).shape == (5, 5, 3)


def test_cached_files_serve_later_runs_and_other_data_have_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _take(_pretraining(cached(_memory_source(), 12, str(tmp_path)), image_size=12), 2)
    cached(_memory_source().subset(np.arange(5)), 12, str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    source = _memory_source()
    monkeypatch.setattr(source, "decode", None)  # nothing is decoded again
    _assert_equal(_take(_pretraining(cached(source, 12, str(tmp_path)), image_size=12), 2), first)


def test_an_interrupted_cache_is_made_again(tmp_path: Path) -> None:
    whole = cached(_memory_source(), 12, str(tmp_path))
    expected = _take(_pretraining(whole, image_size=12), 2)
    (index,) = tmp_path.glob("*/index.npz")
    index.unlink()
    (index.parent / "0" / "3").write_bytes(b"half")
    again = cached(_memory_source(), 12, str(tmp_path))
    _assert_equal(_take(_pretraining(again, image_size=12), 2), expected)


def test_two_who_write_the_same_cache_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one finishes the same folder while this one writes."""
    expected = _take(_pretraining(cached(_memory_source(), 12), image_size=12), 2)
    decoded = cache._decoded

    def and_another(source: Source, side: int) -> object:
        monkeypatch.setattr(cache, "_decoded", decoded)
        for row in decoded(source, side):
            cached(_memory_source(), 12, str(tmp_path))
            yield row

    monkeypatch.setattr(cache, "_decoded", and_another)
    mine = cached(_memory_source(), 12, str(tmp_path))
    _assert_equal(_take(_pretraining(mine, image_size=12), 2), expected)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_a_cache_folder_that_is_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--cache_dir"):
        cached(_memory_source(), 12, str(tmp_path / "file"))


def test_a_broken_image_is_not_blamed_on_the_cache_folder(tmp_path: Path) -> None:
    images, cache_folder = tmp_path / "images", tmp_path / "cache"
    images.mkdir()
    for index in range(3):
        (images / f"{index}.png").write_bytes(_png(index)[: 60 if index == 1 else None])
    with pytest.raises(tf.errors.InvalidArgumentError):
        cached(open_source(f"folder:{images}", "train"), 12, str(cache_folder))


def test_a_part_of_a_folder_reads_its_own_files_only(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(_png(index))
    part = open_source(f"folder:{tmp_path}", "train").subset(np.array([1, 3]))
    for index in (0, 2):
        (tmp_path / f"{index}.png").unlink()
    batch = _take(evaluation_batches(part, image_size=12, batch_size=4), 1)[0]
    assert batch["id"].tolist() == [b"1.png", b"3.png"]
    np.testing.assert_array_equal(np.round(batch["image"][1] * 255), decode_image(_png(3)))


def test_draws_go_on_where_they_are_made_in_bulk() -> None:
    batches = _take(_pretraining(_memory_source(), batch_size=8, start_step=126), 4)
    _assert_equal(_take(_pretraining(_memory_source(), batch_size=8, start_step=128), 2), batches[2:])
    uniforms = np.concatenate([batch["uniforms"] for batch in batches])
    assert len(np.unique(uniforms)) == uniforms.size


def test_workers_must_divide_the_batch() -> None:
    with pytest.raises(UsageError, match="train_batch_size=4"):
        _pretraining(_memory_source(), num_workers=3)


def test_the_first_broken_image_is_named(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(_png(index))
    source = open_source(f"folder:{tmp_path}", "train")
    assert undecodable_image(source) is None
    (tmp_path / "2.png").write_bytes(_png(2)[:-40])
    with pytest.raises(tf.errors.InvalidArgumentError):
        _take(evaluation_batches(source, image_size=SIZE, batch_size=4), 1)
    error = undecodable_image(source)
    assert isinstance(error, UsageError)
    assert "'2.png'" in str(error)


def test_prepared_tfds_data_feed_the_pipeline(shared: Callable[[str], Path]) -> None:
    source = open_source("cifar10:3.0.2", "train", data_dir=str(shared("data/tfds")))
    assert (source.num_examples, source.num_classes, source.class_names[3]) == (50_000, 10, "cat")
    undisturbed = _take(_pretraining(source, batch_size=6, shuffle_buffer=50), 4)
    assert undisturbed[0]["views"].shape == (6, 2, SIZE, SIZE, 3)
    _assert_equal(
        _take(_pretraining(source, batch_size=6, shuffle_buffer=50, start_step=2), 2), undisturbed[2:]
    )
