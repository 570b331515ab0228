"""WebP and TIFF: what their pixels become, whatever the name says, and where they cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.pictures import encoded, grey_tiff, picture, stored, write
from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.data import (
    Sampling,
    evaluation_batches,
    open_source,
    pretraining_batches,
    undecodable_image,
)
from tf_simclr.data.decoding import Decoding, decode_image
from tf_simclr.errors import UsageError

_decode = tf.function(
    lambda file: decode_image(file, Decoding(by_pillow=True)), input_signature=[tf.TensorSpec([], tf.string)]
)
PIXELS = picture(7, 9)


@pytest.mark.parametrize("file_format", ["WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "1", "CMYK"])
def test_every_kind_becomes_three_channels(mode: str, file_format: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    if file_format == "WEBP" and mode not in ("RGB", "RGBA"):
        image = image.convert("RGBA")
    if "A" in image.getbands():
        image.putalpha(100)
    found = _decode(encoded(image, file_format))
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("file_format", ["WEBP", "TIFF"])
def test_the_first_frame_or_page_counts(file_format: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    found = _decode(encoded(frames[0], file_format, save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(found, np.broadcast_to([255, 0, 0], (4, 5, 3)))


def test_a_tiff_in_any_orientation_is_upright() -> None:
    np.testing.assert_array_equal(_decode(encoded(stored(PIXELS, 6), "TIFF", 6)), PIXELS)


def test_of_more_bits_the_high_byte_is_kept() -> None:
    values = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    files = [
        encoded(values, "TIFF"),
        grey_tiff(values.tobytes(), 3, 2, 16),
        grey_tiff((~values).tobytes(), 3, 2, 16, photometric=0),  # white is zero
    ]
    for file in files:
        np.testing.assert_array_equal(_decode(file)[..., 1], values >> 8)
    png = tf.io.encode_png(values[..., None])
    np.testing.assert_array_equal(_decode(png)[..., 1], values >> 8)  # as TensorFlow does
    twelve = grey_tiff(bytes([0x12, 0x3F, 0xFF]), 2, 1, 12)
    np.testing.assert_array_equal(_decode(twelve)[0, :, 1], [0x12, 0xFF])


UNCLEAR = {
    "float.tif": grey_tiff(np.zeros([2, 3], np.float32).tobytes(), 3, 2, 32, kind=3),
    "long.tif": grey_tiff(np.zeros([2, 3], np.uint32).tobytes(), 3, 2, 32),
    "signed.tif": grey_tiff(np.zeros([2, 3], np.int16).tobytes(), 3, 2, 16, kind=2),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_has_no_one_meaning_in_8_bits_is_refused_by_name(name: str, tmp_path: Path) -> None:
    source = open_source(write(tmp_path, {"a.png": encoded(PIXELS, "PNG"), name: UNCLEAR[name]}), "train")
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(evaluation_batches(source, image_size=8, batch_size=2))
    assert f"{name!r} can't be decoded (its pixels are" in str(undecodable_image(source))
    assert "save it with 8 bits" in str(undecodable_image(source))


@pytest.mark.parametrize("name", ["b.webp", "b.tif"])
def test_a_damaged_one_is_named(name: str, tmp_path: Path) -> None:
    whole = encoded(PIXELS, "WEBP" if name.endswith("webp") else "TIFF")
    source = open_source(write(tmp_path, {"a.jpg": encoded(PIXELS, "JPEG"), name: whole[:60]}), "train")
    assert f"{name!r} can't be decoded (damaged" in str(undecodable_image(source))


def test_names_that_lie_do_no_harm(tmp_path: Path) -> None:
    files = {"a.jpg": "WEBP", "b.png": "TIFF", "c.webp": "JPEG", "d.tiff": "PNG", "e.bmp": "BMP"}
    dataset = write(tmp_path, {name: encoded(PIXELS, kind) for name, kind in files.items()})
    source = open_source(dataset, "train")
    assert source.num_examples == 5
    (batch,) = evaluation_batches(source, image_size=7, batch_size=5)
    np.testing.assert_allclose(batch["image"], np.broadcast_to(PIXELS[:, 1:8] / 255, (5, 7, 7, 3)), atol=0.03)
    sampling = Sampling(image_size=6, batch_size=5, seed=1)

    def views() -> list[np.ndarray]:
        batches = pretraining_batches(source, sampling, num_uniforms=0).take(4)
        return [batch["views"].numpy() for batch in batches]

    np.testing.assert_array_equal(views(), views())  # in order, whichever is decoded first


def _operations(dataset: tf.data.Dataset) -> str:
    return str(dataset._as_serialized_graph(allow_stateful=True).numpy())


def test_services_are_sent_no_python(tmp_path: Path) -> None:
    config = Config("pretrain").replace(image_size=8, data_service="grpc://a:1")
    config = config.replace(dataset=write(tmp_path / "a", {"a.jpg": encoded(PIXELS, "JPEG")}))

    def graph(config: Config) -> str:
        own = Sampling(8, batch_size=1, seed=0, report=not config.devices.data_service)
        return _operations(pretraining_batches(inputs.train_source(config), own, num_uniforms=0))

    assert "PyFunc" not in graph(config)
    assert "PyFunc" in graph(config.replace(data_service=""))
    config = config.replace(dataset=write(tmp_path / "b", {"b.webp": encoded(PIXELS, "WEBP")}))
    with pytest.raises(UsageError, match=r"--data_service: .* the \.webp images .*--cache_dataset"):
        inputs.train_source(config)
    assert inputs.train_source(config.replace(cache_dataset=True)).num_examples == 1


def test_data_sets_without_such_images_never_call_python() -> None:
    source = open_source("digits", "test")
    assert "PyFunc" not in _operations(evaluation_batches(source, image_size=8, batch_size=8))
