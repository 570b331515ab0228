"""Requests that a served export should bear: none, garbage, cut files, bombs; many at once."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.parts import Models
from export.saved_model import export_models
from tests.data.pictures import encoded, picture
from tf_simclr.data.decoding import decode_image
from tf_simclr.data.views import evaluation_view

SIDE = 20_000  # of a bomb


@pytest.mark.parametrize("model", ["encoder", "projection_head", "classifier"])
def test_no_example_gives_no_row_of_every_output(exports: Path, model: str) -> None:
    loaded = tf.saved_model.load(str(exports / model / "1000"))
    width = {"encoder": 128, "projection_head": 16, "classifier": 3}[model]
    for signature in loaded.signatures.values():
        (spec,) = signature.structured_input_signature[1].values()
        none = tf.zeros([0, *(side or 32 for side in spec.shape[1:])], spec.dtype)
        answer = signature(**{spec.name: none})
        assert all(value.shape == [0, width] for value in answer.values())
    none = tf.zeros([0, 128] if model == "projection_head" else [0, 32, 40, 3])
    assert loaded(none).shape == loaded.serve(none).shape == [0, width]


@pytest.mark.parametrize("signature", ["serving_default", "serving_uint8", "serving_bytes"])
def test_an_input_of_another_shape_is_refused_before_a_kernel_sees_it(exports: Path, signature: str) -> None:
    served = tf.saved_model.load(str(exports / "encoder" / "1000")).signatures[signature]
    if signature == "serving_bytes":
        wrong = [{"image_bytes": tf.constant("abc")}, {"image_bytes": tf.constant([["abc"]])}]
    else:
        dtype = tf.float32 if signature == "serving_default" else tf.uint8
        wrong = [{"images": tf.zeros(shape, dtype)} for shape in ([32, 32, 3], [2, 32, 32, 1], [32])]
    for inputs in wrong:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not compatible with expected shape \["):
            served(**inputs)


def test_no_image_to_train_on_is_said_so(exports: Path) -> None:
    encoder = tf.saved_model.load(str(exports / "encoder" / "1000"))
    before = [variable.numpy() for variable in encoder.variables]
    for call in (lambda none: encoder(none, training=True), encoder.serve_training):
        with pytest.raises(tf.errors.InvalidArgumentError, match="training=True needs an image at least"):
            call(tf.zeros([0, 32, 32, 3]))
    for variable, value in zip(encoder.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def png_bomb() -> bytes:
    """20,000 x 20,000 black pixels of a bit each, 50 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = zlib.compress(bytes(SIDE * (SIDE // 8 + 1)), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """A small JPEG whose frame header says 20,000 x 20,000."""
    small = bytearray(encoded(picture(9, 9), "JPEG"))
    place = small.index(b"\xff\xc0") + 5
    small[place : place + 4] = struct.pack(">HH", SIDE, SIDE)
    return bytes(small)


def gif_bomb() -> bytes:
    small = bytearray(encoded(picture(9, 9), "GIF"))
    small[6:10] = struct.pack("<HH", SIDE, SIDE)
    return bytes(small)


BAD = {
    "garbage": b"\x00\xff garbage",
    "empty": b"",
    "html": b"<html>404</html>",
    "a PNG's magic alone": b"\x89PNG",
    "cut PNG": encoded(picture(30, 30), "PNG")[:-40],
    "cut JPEG": encoded(picture(30, 30), "JPEG")[:200],
    "TIFF": encoded(picture(5, 5), "TIFF"),
    "PNG bomb": png_bomb(),
    "JPEG bomb": jpeg_bomb(),
    "GIF bomb": gif_bomb(),
}


@pytest.fixture(scope="module")
def one_layer(models: Models, tmp_path_factory: pytest.TempPathFactory) -> tuple[Models, tf.Module]:
    from tests.export.conftest import OneLayer

    small = dataclasses.replace(
        models, encoder=OneLayer(), image_size=4, projection_head=None, classifier=None, head_layer=0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.saved_model._verify", lambda folders: None)
        (folder,) = export_models(small, str(tmp_path_factory.mktemp("one_layer")))
    return small, tf.saved_model.load(str(folder)).signatures["serving_bytes"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_named_by_its_place(one_layer: tuple[Models, tf.Module], kind: str) -> None:
    good = encoded(picture(9, 9), "PNG")
    for place in (0, 2):
        files = [BAD[kind] if number == place else good for number in range(3)]
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            one_layer[1](image_bytes=tf.constant(files))
        assert f"image_bytes[{place}] cannot be decoded: give a whole JPEG" in str(error.value)


def test_many_images_are_answered_in_their_order(one_layer: tuple[Models, tf.Module]) -> None:
    kinds = ("PNG", "JPEG", "GIF", "BMP")
    files = [encoded(picture(10 + number, 40, number), kinds[number % 4]) for number in range(32)]
    upside_down = bytearray(files[3])
    upside_down[22:26] = struct.pack(
        "<i", -struct.unpack("<i", upside_down[22:26])[0]
    )  # its rows from the top
    files.append(bytes(upside_down))
    models, served = one_layer
    views = tf.stack([evaluation_view(decode_image(file), 4) for file in files])
    np.testing.assert_allclose(
        served(image_bytes=tf.constant(files))["default"], models.encoder(views), rtol=1e-5, atol=1e-6
    )
    assert np.asarray(Image.open(io.BytesIO(files[-1]))).shape == (13, 40, 3)
