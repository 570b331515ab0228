"""The architecture inferred from names and shapes alone, and sources that are refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official_files import random_parts, tf1_names, write_tf1, write_tf2

from tf_simclr import import_official
from tf_simclr.models import LinearClassifier, ProjectionHead, ResNet
from tf_simclr.official import architecture, object_graph
from tf_simclr.official import tf1_names as tf1
from tf_simclr.official.architecture import Architecture
from tf_simclr.official.matching import match

TINY = {"depth": 18, "width_multiplier": 0.0625, "stem": "cifar"}


def shapes_of(encoder: dict, head: dict | None = None, num_classes: int = 0) -> tuple[dict[str, Any], dict]:
    """Names and shapes of a TF1 file, and the parts; nothing is allocated."""
    with tf.Graph().as_default():
        parts: dict[str, Any] = {"encoder": ResNet(**encoder)}
        h = tf.zeros([1, parts["encoder"].output_dim])
        if head is not None:
            parts["projection_head"] = ProjectionHead(**head)
            parts["projection_head"](h)
        if num_classes:
            parts["classifier"] = LinearClassifier(num_classes)
            parts["classifier"](h)
        return {name: variable.shape.as_list() for name, variable in tf1_names(parts).items()}, parts


@pytest.mark.parametrize(("listing", "sk_ratio"), [("1x", 0.0), ("1x_sk", 0.0625)])
def test_published_names_map_without_a_rest(golden: Path, listing: str, sk_ratio: float) -> None:
    lines = (golden / f"tf1_variables_resnet50_{listing}_v2.txt").read_text().split("\n")
    theirs = {
        name: [int(side) for side in shape.split("x")] for name, shape in (x.split() for x in lines if x)
    }
    weights = tf1.sort(theirs)
    found = architecture.infer(weights)
    assert found == Architecture(50, 1.0, sk_ratio, 0.0, "imagenet", "nonlinear", 3, 128, 1000)
    names, parts = shapes_of({"depth": 50, "sk_ratio": sk_ratio}, {"num_layers": 3}, 1000)
    assert names == theirs
    pairs = match(parts, weights)
    assert all(pair.fits for pair in pairs)
    assert sorted(pair.theirs.name for pair in pairs if pair.theirs) == sorted(theirs)
    assert not weights.left_out


@pytest.mark.parametrize(
    ("encoder", "head", "num_classes"),
    [
        ({"depth": 101, "width_multiplier": 2}, {"num_layers": 2}, 0),
        ({"depth": 18, "width_multiplier": 4, "se_ratio": 0.25}, {"mode": "linear", "out_dim": 64}, 10),
        ({"depth": 34, "width_multiplier": 0.7, "stem": "cifar"}, None, 1001),
        ({"depth": 50, "width_multiplier": 3, "sk_ratio": 0.1, "se_ratio": 0.3}, {"num_layers": 3}, 0),
        ({"depth": 18, "sk_ratio": 0.0625}, None, 0),
        pytest.param(
            {"depth": 152, "width_multiplier": 3, "sk_ratio": 0.0625},
            {"num_layers": 3},
            1000,
            marks=pytest.mark.slow,
        ),
        pytest.param({"depth": 200, "width_multiplier": 2}, None, 0, marks=pytest.mark.slow),
    ],
)
def test_architecture_is_found_again(encoder: dict, head: dict | None, num_classes: int) -> None:
    names, parts = shapes_of(encoder, head, num_classes)
    weights = tf1.sort(names)
    found = architecture.infer(weights)
    assert found.resnet_depth == encoder["depth"]
    for name in ("width_multiplier", "sk_ratio", "se_ratio"):
        assert getattr(found, name) == pytest.approx(encoder.get(name, 1.0 if "width" in name else 0.0)), name
    assert found.stem == encoder.get("stem", "imagenet")
    assert found.num_classes == num_classes
    head_layers = parts["projection_head"].dense_layers if head is not None else []
    assert found.proj_head_mode == (head or {"mode": "none"}).get("mode", "nonlinear")
    assert len(weights.projection_head.kernels) == len(head_layers)
    assert all(pair.fits for pair in match(parts, weights))


BOTTLENECK = """
conv2d 7x7x3x64
conv2d_1 1x1x64x256
conv2d_2 1x1x64x64
conv2d_3 3x3x64x64
conv2d_4 1x1x64x256
conv2d_5 1x1x256x16
conv2d_6 1x1x16x256
conv2d_7 1x1x256x64
"""
BASIC = """
conv2d 7x7x3x64
conv2d_1 1x1x64x64
conv2d_2 3x3x64x64
conv2d_3 3x3x64x64
conv2d_4 1x1x64x16
conv2d_5 1x1x16x64
conv2d_6 3x3x64x64
"""


@pytest.mark.parametrize(("depth", "by_hand"), [(50, BOTTLENECK), (18, BASIC)])
def test_order_of_a_block_with_squeeze_excitation(depth: int, by_hand: str) -> None:
    """As the authors' TF1 code creates them: stem, shortcut, main layers, squeeze, excitation, next block."""
    names, _ = shapes_of({"depth": depth, "se_ratio": 0.25})
    kernels = {
        name.split("/")[1]: "x".join(map(str, shape))
        for name, shape in names.items()
        if name.endswith("kernel")
    }
    expected = dict(line.split() for line in by_hand.split("\n") if line)
    assert list(kernels.items())[: len(expected)] == list(expected.items())


def test_widths_that_are_cut_to_whole_channels() -> None:
    """int(64 * w), int(128 * w), ... fix w up to a little: any width in that range gives the same model."""
    for width in (1 / 3, 1.1):
        names, _ = shapes_of({"depth": 18, "width_multiplier": width, "stem": "cifar"})
        found = architecture.infer(tf1.sort(names))
        again, _ = shapes_of({"depth": 18, "width_multiplier": found.width_multiplier, "stem": "cifar"})
        assert again == names


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a TF1 file that can be imported."""
    folder = tmp_path_factory.mktemp("good")
    write_tf1(folder / "model.ckpt-1234", tf1_names(random_parts(TINY, {"out_dim": 4}, 3)))
    return folder


def truncated_data(folder: Path, good: Path) -> Path:
    shutil.copytree(good, folder)
    data = folder / "model.ckpt-1234.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-3000])
    return folder


def truncated_index(folder: Path, good: Path) -> Path:
    shutil.copytree(good, folder)
    index = folder / "model.ckpt-1234.index"
    index.write_bytes(index.read_bytes()[:100])
    return folder


def flipped_bit(folder: Path, good: Path) -> Path:
    shutil.copytree(good, folder)
    data = folder / "model.ckpt-1234.data-00000-of-00001"
    damaged = bytearray(data.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    data.write_bytes(bytes(damaged))
    return folder


def empty_folder(folder: Path, good: Path) -> Path:
    folder.mkdir()
    return folder


def empty_files(folder: Path, good: Path) -> Path:
    folder.mkdir()
    (folder / "model.ckpt-1.index").touch()
    (folder / "model.ckpt-1.data-00000-of-00001").touch()
    return folder


def missing(folder: Path, good: Path) -> Path:
    return folder / "nowhere" / "model.ckpt-1"


def foreign_file(folder: Path, good: Path) -> Path:
    folder.mkdir()
    (folder / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return folder / "weights.h5"


def foreign_checkpoint(folder: Path, good: Path) -> Path:
    write_tf1(folder / "model.ckpt-1", {"vgg/conv2d/kernel": np.zeros([3, 3, 3, 8], np.float32)})
    return folder


def foreign_object_graph(folder: Path, good: Path) -> Path:
    tf.train.Checkpoint(net=tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=[3])])).write(
        str(folder / "ckpt-1")
    )
    return folder


def broken_object_graph(folder: Path, good: Path) -> Path:
    write_tf1(folder / "c-1", {object_graph.KEY: np.array(b"\xff\xff\xff"), "a/conv2d/kernel": np.zeros([2])})
    return folder


def saved_model_without_variables(folder: Path, good: Path) -> Path:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def empty_state_file(folder: Path, good: Path) -> Path:
    shutil.copytree(good, folder)
    (folder / "checkpoint").touch()
    return folder


def binary_state_file(folder: Path, good: Path) -> Path:
    shutil.copytree(good, folder)
    (folder / "checkpoint").write_bytes(b"\xff\xfe\x00")
    return folder


def two_of_one_number(folder: Path, good: Path) -> Path:
    named = tf1_names(random_parts(TINY))
    write_tf1(folder / "model.ckpt-1", {**named, "base_model/conv2d_0/kernel": np.zeros([3, 3, 3, 4])})
    return folder


def unknown_variable(folder: Path, good: Path) -> Path:
    named = tf1_names(random_parts(TINY))
    write_tf1(folder / "model.ckpt-1", {**named, "base_model/attention/query": np.zeros([4], np.float32)})
    return folder


def missing_variable(folder: Path, good: Path) -> Path:
    named = tf1_names(random_parts(TINY))
    named.pop("base_model/batch_normalization_3/beta")
    write_tf1(folder / "model.ckpt-1", named)
    return folder


def missing_layer(folder: Path, good: Path) -> Path:
    named = {name: v for name, v in tf1_names(random_parts(TINY)).items() if "/conv2d_5/" not in name}
    write_tf1(folder / "model.ckpt-1", named)
    return folder


def wrong_shape(folder: Path, good: Path) -> Path:
    named: dict[str, Any] = dict(tf1_names(random_parts(TINY)))
    named["base_model/batch_normalization_3/beta"] = np.zeros([5], np.float32)
    write_tf1(folder / "model.ckpt-1", named)
    return folder


def not_a_number(folder: Path, good: Path) -> Path:
    named: dict[str, Any] = dict(tf1_names(random_parts(TINY)))
    named["base_model/batch_normalization_3/beta"] = np.full([4], np.nan, np.float32)
    write_tf1(folder / "model.ckpt-1", named)
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (truncated_data, "cannot be read"),
        (truncated_index, "cannot be read"),
        (flipped_bit, "cannot be read"),
        (empty_folder, "neither a checkpoint"),
        (empty_files, "cannot be read"),
        (missing, "no such checkpoint"),
        (foreign_file, "no such checkpoint"),
        (foreign_checkpoint, "no encoder in it"),
        (foreign_object_graph, "no model in it"),
        (broken_object_graph, "cannot be read"),
        (saved_model_without_variables, "cannot be read"),
        (empty_state_file, "the file `checkpoint` in it cannot be read"),
        (binary_state_file, "the file `checkpoint` in it cannot be read"),
        (unknown_variable, "base_model/attention/query"),
        (two_of_one_number, "have one number"),
        (missing_layer, "no ResNet-18"),
        (not_a_number, "base_model/batch_normalization_3/beta is not finite"),
    ],
)
def test_bad_source_is_one_line(
    make: Callable[[Path, Path], Path],
    said: str,
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make(tmp_path / "source", good)
    assert import_official.main([f"--source={source}", f"--model_dir={tmp_path / 'run'}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
    assert "--source=" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("make", "row"),
    [
        (missing_variable, "encoder/group1/block1/bn2/beta  absent  [4]"),
        (wrong_shape, "encoder/group1/block1/bn2/beta  base_model/batch_normalization_3/beta [5]  [4]"),
    ],
)
def test_variables_that_do_not_fit_are_a_table(
    make: Callable[[Path, Path], Path],
    row: str,
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make(tmp_path / "source", good)
    assert import_official.main([f"--source={source}", f"--model_dir={tmp_path / 'run'}"]) == 2
    first, *table = capsys.readouterr().err.rstrip().split("\n")
    assert "is nearest to --resnet_depth=18 --width_multiplier=0.0625" in first
    assert "1 of its variables" in first
    assert [re.sub(" {2,}", "  ", line.strip()) for line in table[1:]] == [row]
    assert not (tmp_path / "run").exists()


def test_source_and_model_dir_are_required(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_official.main(["--model_dir=/nowhere"]) == 2
    assert "--source is required" in capsys.readouterr().err
    assert import_official.main([f"--source={good}"]) == 2
    assert "--model_dir is required" in capsys.readouterr().err


def test_ema_of_a_tf2_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_tf2(tmp_path / "ckpt-1", random_parts(TINY))
    assert import_official.main([f"--source={source}", "--ema", f"--model_dir={tmp_path / 'run'}"]) == 2
    assert "--ema is for TF1" in capsys.readouterr().err


def test_any_file_of_a_checkpoint_names_it(good: Path, tmp_path: Path) -> None:
    source = good / "model.ckpt-1234.data-00000-of-00001"
    assert import_official.main([f"--source={source}", f"--model_dir={tmp_path / 'run'}"]) == 0
