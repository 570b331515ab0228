"""Images and CSVs that are damaged anywhere are read, or refused in one line that names the file."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.damage import Outcomes, damaged
from tests.data.pictures import encoded, picture
from tf_simclr.data import open_source, undecodable_image
from tf_simclr.data.decoding import Decoding, decode_for_boxes, decode_image
from tf_simclr.errors import UsageError

FUZZ = {"database": None, "deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
FORMATS = ("jpeg", "png", "gif", "bmp", "webp", "tiff")
MOST_PIXELS = 10**7  # of what a damaged head may promise here; what bounds it in a run is --max_image_pixels
CSV = b"file,label,split\n1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n"


def promised(content: bytes) -> int:
    """Pixels that the head says."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.width * image.height
    except Exception:  # of whatever kind: then there is no head to believe
        return 0


@pytest.mark.slow
def test_damaged_images_are_decoded_or_an_error_that_commands_explain() -> None:
    outcomes: Counter[str] = Counter()
    files = {name: encoded(picture(40, 50), name) for name in FORMATS}
    how = Decoding(upright=True, by_pillow=True)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decoded(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        boxes = decode_for_boxes(content, lambda h, w: tf.stack([[0, 0, h // 2, w // 2]]), 8, how)
        return decode_image(content, how), boxes[0]

    @settings(max_examples=1200, **FUZZ)
    @given(data=st.data(), name=st.sampled_from(FORMATS))
    def one(data: st.DataObject, name: str) -> None:
        content = data.draw(damaged(files[name]))
        assume(promised(content) <= MOST_PIXELS)
        try:
            for pixels in decoded(tf.constant(content)):
                assert pixels.dtype == tf.uint8
                assert pixels.shape[-1] == 3
            outcomes["decoded"] += 1
        except tf.errors.InvalidArgumentError:
            outcomes["refused"] += 1

    one()
    assert sum(outcomes.values()) >= 1000
    assert min(outcomes.values()) >= 100, outcomes


@settings(max_examples=12, **FUZZ)
@given(data=st.data(), name=st.sampled_from(FORMATS))
def test_the_image_that_cannot_be_decoded_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("images")
    whole = encoded(picture(40, 50), name)
    cut = whole[: data.draw(st.integers(0, 60))]
    (folder / f"1.{name}").write_bytes(whole)
    (folder / f"2.{name}").write_bytes(cut)
    with pytest.raises(UsageError) as error:  # its head says so, or the decoder
        raise undecodable_image(open_source(f"folder:{folder}", "train")) or AssertionError("all is well")
    assert f"2.{name}" in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_csvs_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    outcomes = Outcomes()
    for number in (1, 2, 3):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(4, 4), "png"))
    labels = tmp_path / "labels.csv"

    @settings(max_examples=1000, **FUZZ)
    @given(content=damaged(CSV))
    def one(content: bytes) -> None:
        labels.write_bytes(content)
        outcomes.add(lambda: open_source(f"folder:{tmp_path}", "train", labels_csv=str(labels)))

    one()
    names = ("labels.csv", f"--dataset=folder:{tmp_path}")
    outcomes.require(400, 20, named=lambda line: any(name in line for name in names))
