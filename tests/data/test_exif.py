"""EXIF orientation: against Pillow, in every container, with boxes, the same wherever images are decoded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.pictures import encoded, picture, stored, turned, write
from tf_simclr.config import Config
from tf_simclr.config.stored import inherit
from tf_simclr.data import (
    Sampling,
    Source,
    cached,
    evaluation_batches,
    exif,
    open_source,
    pretraining_batches,
    training_batches,
)
from tf_simclr.data.decoding import Decoding, decode_for_boxes, decode_image
from tf_simclr.data.records import StreamSource
from tf_simclr.protocols import on_features

ALL = range(1, 9)
UPRIGHT = Decoding(upright=True, by_pillow=True)
_orientation = tf.function(exif.orientation, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_all_eight_are_turned_as_pillow_turns_them(file_format: str) -> None:
    decode = tf.function(lambda file: decode_image(file, UPRIGHT))
    for orientation in ALL:
        file = tf.constant(encoded(picture(17, 31), file_format, orientation))
        as_stored = decode_image(file, Decoding(by_pillow=True)).numpy()
        assert as_stored.shape == (17, 31, 3)  # ignored by default
        np.testing.assert_array_equal(decode(file), turned(as_stored, orientation), f"{orientation}")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_boxes_are_drawn_in_the_upright_image(file_format: str) -> None:
    boxes = tf.constant([[3, 5, 20, 13], [11, 2, 9, 16]])
    sizes = []

    def draw(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        sizes.append((int(height), int(width)))
        return boxes

    for orientation in ALL:
        file = tf.constant(encoded(picture(40, 33), file_format, orientation))
        pixels, moved = decode_for_boxes(file, draw, 32, UPRIGHT)
        whole = decode_image(file, UPRIGHT).numpy()
        assert sizes[-1] == whole.shape[:2]
        for (top, left, height, width), (inner_top, inner_left, *inner) in zip(
            boxes.numpy(), moved.numpy(), strict=True
        ):
            assert inner == [height, width]
            found = pixels[inner_top : inner_top + height, inner_left : inner_left + width]
            np.testing.assert_array_equal(found, whole[top : top + height, left : left + width])
        if file_format == "JPEG":
            assert pixels.shape == (20, 16, 3)  # no more than holds them


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_jpeg_shrinks_while_it_is_decoded(orientation: int) -> None:
    file = tf.constant(encoded(picture(501, 403), "JPEG", orientation))
    box = [101, 51, 240, 320]
    pixels, moved = decode_for_boxes(file, lambda height, width: tf.constant([box]), 40, UPRIGHT)
    assert pixels.shape == (60, 80, 3)
    np.testing.assert_array_equal(moved, [[0, 0, 60, 80]])
    whole = tf.cast(decode_image(file, UPRIGHT), tf.float32)[101:341, 51:371]
    difference = tf.abs(tf.cast(pixels, tf.float32) - tf.image.resize(whole, [60, 80], "area"))
    assert float(tf.reduce_mean(difference)) < 3


def _block(order: str, value: int, kind: int = 3, tag: int = 0x0112) -> bytes:
    """An EXIF block of two entries, in a byte order of struct's."""
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    entries = [(0x010E, 3, 1, 5), (tag, kind, 1, value)]
    return header + struct.pack(order + "H", 2) + b"".join(struct.pack(order + "HHIHxx", *e) for e in entries)


def _jpeg(block: bytes, before: bytes = b"") -> bytes:
    segment = b"Exif\0\0" + block
    return b"\xff\xd8" + before + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + b"\xff\xda"


@pytest.mark.parametrize("order", ["<", ">"])
def test_it_is_found_in_either_byte_order_behind_other_segments(order: str) -> None:
    app0, comment = b"\xff\xe0\x00\x07JFIF\0", b"\xff\xfe\x00\x04hi"
    for before in (b"", app0, app0 + comment + b"\xff\xff"):  # 0xff may fill
        assert _orientation(_jpeg(_block(order, 6), before)) == 6
    other = b"\xff\xe1\x00\x08http:/"  # XMP is in a segment of the same kind
    assert _orientation(_jpeg(_block(order, 3), other)) == 3


def test_chunks_of_a_webp_begin_at_even_bytes() -> None:
    chunks = [(b"ALPH", b"odd"), (b"EXIF", _block("<", 8))]
    parts = [
        kind + struct.pack("<I", len(found)) + found + b"\0" * (len(found) % 2) for kind, found in chunks
    ]
    assert _orientation(b"RIFF\0\0\0\0WEBP" + b"".join(parts)) == 8


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff",
        b"no image",
        encoded(picture(5, 4), "JPEG"),
        encoded(picture(5, 4), "GIF"),
        _jpeg(_block("<", 0)),
        _jpeg(_block("<", 9)),
        _jpeg(_block("<", 6, kind=2)),
        _jpeg(_block("<", 6, tag=0x0113)),
        _jpeg(_block("<", 6))[:40],
        b"RIFF\0\0\0\0WEBPEXIF",
        _jpeg(b"II*\0\xff\xff\xff\xff"),
        b"\xff\xd8\xff\xda" + _jpeg(_block("<", 6))[2:],  # behind the start of the pixels
    ],
)
def test_where_nothing_is_said_an_image_is_upright(file: bytes) -> None:
    assert _orientation(file) == 1


@settings(max_examples=200, deadline=None)
@given(data=st.data(), file_format=st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_damage_is_no_error(data: st.DataObject, file_format: str) -> None:
    file = bytearray(encoded(picture(6, 5), file_format, 6))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6)):
        file[min(place, len(file) - 1)] = value
    assert 1 <= _orientation(bytes(file[: data.draw(st.integers(0, len(file)))])) <= 8


def test_it_takes_tensorflow_alone() -> None:
    operations = _orientation.get_concrete_function().graph.as_graph_def()
    names = {
        node.op
        for one in [operations, *operations.library.function]
        for node in getattr(one, "node", one.node_def if hasattr(one, "node_def") else [])
    }
    assert "DecodePaddedRaw" in names
    assert not {name for name in names if "PyFunc" in name}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same eight images, upright and stored in each orientation."""
    root = tmp_path_factory.mktemp("turned")
    upright = {o: picture(20 + o, 31, seed=o) for o in ALL}
    right = write(root / "upright", {f"{o}.png": encoded(image, "PNG") for o, image in upright.items()})
    files = {f"{o}.png": encoded(stored(image, o), "PNG", o) for o, image in upright.items()}
    return right, write(root / "stored", files)


SAMPLING = Sampling(image_size=12, batch_size=8, seed=3)
WAYS = {
    "pretraining": lambda source: pretraining_batches(source, SAMPLING, num_uniforms=0),
    "training": lambda source: training_batches(source, SAMPLING),
    "training without crops": lambda source: training_batches(source, SAMPLING, augment=False),
    "evaluation": lambda source: evaluation_batches(source, image_size=12, batch_size=8),
}


def _images(source: Source, way: str = "pretraining") -> np.ndarray:
    batch = next(iter(WAYS[way](source)))
    return (batch["views"] if "views" in batch else batch["image"]).numpy()


@pytest.mark.parametrize("way", WAYS)
def test_turned_images_give_the_batches_of_upright_ones(folders: tuple[str, str], way: str) -> None:
    expected = _images(open_source(folders[0], "train"), way)
    np.testing.assert_array_equal(_images(open_source(folders[1], "train", exif="apply"), way), expected)


def test_so_do_parts_and_caches_and_ignoring_does_not(folders: tuple[str, str]) -> None:
    expected = _images(open_source(folders[0], "train"))
    source = open_source(folders[1], "train", exif="apply")
    np.testing.assert_array_equal(_images(cached(source.subset(np.arange(8)), 40)), expected)
    stream = StreamSource("images", "train", "1", (), stream=source.records(), num_examples=8)
    stream.decoding = source.decoding
    np.testing.assert_array_equal(_images(stream.subset(np.arange(8))), expected)
    assert not np.array_equal(_images(open_source(folders[1], "train")), expected)


def test_what_was_stored_of_images_is_not_mixed_up(folders: tuple[str, str], tmp_path: Path) -> None:
    ignored, applied = (open_source(folders[1], "train", exif=how) for how in ("ignore", "apply"))
    for source in (ignored, applied):
        cached(source, 40, str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    config = Config("linear_eval")
    assert (
        len({on_features.cache_key(config, source.subset(np.arange(3)), "") for source in (ignored, applied)})
        == 2
    )


def test_runs_pass_it_on_and_old_ones_ignored_it() -> None:
    run = Config("pretrain").replace(exif="apply")
    assert inherit(Config("knn"), run, set()).data.exif == "apply"
    assert inherit(Config("knn"), run, {"exif"}).data.exif == "ignore"
    tree = run.to_tree()
    del tree["data"]["exif"]
    assert Config.from_tree(tree).data.exif == "ignore"
