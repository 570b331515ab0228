"""TFDS data sets on disk that were cut, garbled or lost in part: one line that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.small_runs import TINY
from tf_simclr import knn, pretrain
from tf_simclr.data import open_source
from tf_simclr.errors import Damaged

IMAGES = 40
Damage = Callable[[Path], None]


with tfds.core.registered.skip_registration():

    class _Tiny(tfds.core.GeneratorBasedBuilder):
        """Forty images of two classes, in as many files as are asked for."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            label = tfds.features.ClassLabel(names=["dark", "light"])
            features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": label}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

        def _generate_examples(self, seed: int) -> Any:
            rng = np.random.default_rng(seed)
            for number in range(IMAGES):
                yield number, {"image": rng.integers(0, 255, [8, 8, 3], np.uint8), "label": number % 2}

    class TinyOnDisk(_Tiny):
        """One that TFDS knows by its files alone."""


class TinyInCode(_Tiny):
    """One that TFDS knows by its code."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    for kind in (TinyInCode, TinyOnDisk):
        kind(data_dir=str(folder)).download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=2)
        )
    return folder


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    """A data folder that a test may damage."""
    return shutil.copytree(prepared, tmp_path / "tfds")


def shard(copy: Path, number: int = 1, split: str = "train", name: str = "tiny_on_disk") -> Path:
    return copy / name / "1.0.0" / f"{name}-{split}.tfrecord-0000{number}-of-00002"


def cut(share: float) -> Damage:
    def to_share(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return to_share


def cut_at_a_record(file: Path) -> None:
    """After one whole record and three bytes of the next one's length: to TensorFlow a clean end."""
    content = file.read_bytes()
    file.write_bytes(content[: 16 + int.from_bytes(content[:8], "little") + 3])


def flip(file: Path) -> None:
    """One bit in the middle, which a checksum knows of."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def garble(file: Path) -> None:
    file.write_bytes(b"\xff\x00" * 20)


@pytest.mark.parametrize("name", ["tiny_in_code", "tiny_on_disk"])
def test_a_whole_data_set_is_read(prepared: Path, name: str) -> None:
    source = open_source(name, "train", str(prepared))
    assert source.num_examples == len(list(source.records())) == IMAGES
    assert len({file for file, _, _ in source.stretches}) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "is missing"),
        (cut(0), "is empty"),
        (cut(0.5), "holds 10 whole records"),
        (cut_at_a_record, "holds 1 whole records and 3 bytes of another"),
        (garble, "holds 0 whole records"),
    ],
)
def test_a_file_that_is_not_whole_is_named_at_the_start(copy: Path, damage: Damage, words: str) -> None:
    damage(shard(copy))
    with pytest.raises(Damaged, match="--dataset=tiny_on_disk") as error:
        open_source("tiny_on_disk", "train[10%:]", str(copy))
    assert f"--dataset=tiny_on_disk: {shard(copy)} {words}" in str(error.value)
    assert "\n" not in str(error.value)
    assert open_source("tiny_on_disk", "train[:50%]", str(copy)).num_examples == 20  # the other file
    assert open_source("tiny_on_disk", "test", str(copy)).num_examples == IMAGES


@pytest.mark.parametrize("name", ["tiny_in_code", "tiny_on_disk"])
@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize(
    ("damage", "words"), [(Path.unlink, "is missing"), (cut(0.5), "is damaged"), (garble, "is damaged")]
)
def test_metadata_that_are_damaged_are_named(
    copy: Path, name: str, file: str, damage: Damage, words: str
) -> None:
    path = copy / name / "1.0.0" / file
    damage(path)
    if name == "tiny_in_code" and file == "features.json":
        assert open_source(name, "train", str(copy)).num_classes == 2  # its code says the same
        return
    with pytest.raises(Damaged, match=words) as error:
        open_source(name, "train", str(copy))
    assert f"--dataset={name}: {path} {words}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checksum_that_is_wrong_is_named_when_it_is_read(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(shard(copy))
    flags = {
        **TINY,
        "dataset": "tiny_on_disk",
        "data_dir": str(copy),
        "train_batch_size": 8,
        "train_steps": 20,
    }
    words = [f"--{key}={value}" for key, value in {**flags, "model_dir": str(tmp_path / "run")}.items()]
    assert pretrain.main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"pretrain: --dataset=tiny_on_disk: {shard(copy)} is damaged behind record " in last


@pytest.mark.slow
def test_an_evaluation_names_the_file_of_its_own_split(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(shard(copy, 0, "test"))
    flags = {"dataset": "tiny_on_disk", "data_dir": str(copy), "image_size": 8, "resnet_depth": 18}
    words = [f"--{key}={value}" for key, value in {**flags, "model_dir": str(tmp_path / "knn")}.items()]
    assert knn.main(words) == 2
    assert f"{shard(copy, 0, 'test')} is damaged behind record " in capsys.readouterr().err.splitlines()[-1]
