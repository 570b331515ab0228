"""Weights for torchvision and timm: names, layout and answers, by PyTorch itself where it is."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import torch_weights, usage
from export.parts import Models, Part, in_order
from export.saved_model import export_models
from export.signatures import images
from tests.export.conftest import randomize
from tf_simclr.errors import UsageError
from tf_simclr.models import LinearClassifier, ResNet

numpy_file = pytest.importorskip("safetensors.numpy", reason="needs requirements-torch.txt")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
CASES = [(18, "imagenet"), (18, "cifar"), pytest.param(50, "imagenet", marks=pytest.mark.slow)]


def part_of(depth: int, stem: str, width: float = 1.0) -> Part:
    """A classifier with random weights."""
    encoder, classifier = ResNet(depth, width, stem=stem), LinearClassifier(10)
    classifier(tf.zeros([1, encoder.output_dim]))
    randomize(encoder, classifier)
    classify = in_order([encoder])
    return Part(
        lambda x, training: classifier(classify(x, training)), [encoder, classifier], images(3), {}, []
    )


@pytest.mark.parametrize(("depth", "stem"), CASES)
def test_names_and_shapes_are_torchvisions(tmp_path: Path, depth: int, stem: str):
    weights = numpy_file.load_file(torch_weights.write(part_of(depth, stem), tmp_path))
    assert len(weights) == {18: 107, 50: 267}[depth]  # 18: with a projection in layer1 too
    size, strided = (3, "conv1") if depth == 18 else (1, "conv2")
    shapes = {
        "conv1.weight": (64, 3, 7, 7) if stem == "imagenet" else (64, 3, 3, 3),
        "bn1.running_var": (64,),
        "layer1.1.conv1.weight": (64, 64 if depth == 18 else 256, size, size),
        f"layer2.0.{strided}.weight": (128, 64 if depth == 18 else 128, 3, 3),
        "layer4.0.downsample.0.weight": (512, 256, 1, 1) if depth == 18 else (2048, 1024, 1, 1),
        "layer4.0.downsample.1.bias": (512 if depth == 18 else 2048,),
        "fc.weight": (10, 512 if depth == 18 else 2048),
    }
    assert {name: weights[name].shape for name in shapes} == shapes


@pytest.mark.parametrize(("depth", "stem"), CASES)
def test_torchvisions_network_written_out_answers_as_the_live_one(tmp_path: Path, depth: int, stem: str):
    part = part_of(depth, stem, 0.25)
    run = torch_weights.runner(torch_weights.write(part, tmp_path), part)
    for height, width in ((64, 64), (33, 50)):
        pictures = np.random.default_rng(0).random((2, height, width, 3)).astype(np.float32)
        close(run(pictures), part.call(tf.constant(pictures), False))


def close(found: np.ndarray, expected: tf.Tensor) -> None:
    """To 1e-4 of the largest output."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


BEFORE = """import numpy, torch
images = torch.from_numpy(numpy.load("images.npy").transpose(0, 3, 1, 2).copy())
"""
AFTER = """
numpy.save("outputs.npy", outputs.detach().numpy())
"""


def pytorch() -> str:
    """A Python with torch, torchvision and safetensors; skips where there is none."""
    python = os.environ.get("TF_SIMCLR_TORCH_PYTHON", sys.executable)
    if python == sys.executable and importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torch and torchvision, here or in the Python of TF_SIMCLR_TORCH_PYTHON")
    return python


def in_torch(code: str, folder: Path, pictures: np.ndarray) -> np.ndarray:
    """`outputs` of the code for `images`, in a process that has no TensorFlow."""
    np.save(folder / "images.npy", pictures)
    done = subprocess.run(
        [pytorch(), "-c", BEFORE + code + AFTER],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=clean(),
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "outputs.npy")


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "stem"), CASES)
@pytest.mark.parametrize("model", ["encoder", "classifier"])
def test_torchvision_loads_the_card_code_and_answers_to_1e_4(
    tmp_path: Path, depth: int, stem: str, model: str
):
    pytorch()
    part = part_of(depth, stem)
    if model == "encoder":
        part = Part(in_order(part.layers[:1]), part.layers[:1], part.spec, {}, [])
    torch_weights.write(part, tmp_path)
    facts = {"model": model, "format": "torch", "channels": 3, "num_classes": 10}
    code = usage.code({**facts, "resnet": torch_weights.about(part)}).strip("`").removeprefix("python\n")
    pictures = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)
    close(in_torch(code, tmp_path, pictures), part.call(tf.constant(pictures), False))


def test_the_page_has_the_cards_code():
    resnet = {"depth": 50, "stem": "imagenet"}
    card = usage.code(
        {"model": "encoder", "format": "torch", "channels": 3, "num_classes": 0, "resnet": resnet}
    )
    for line in re.findall(r"^model\..*?(?=  #|$)", card, re.M):
        assert line.replace('"model.', '"exports/encoder_torch/1000/model.') in PAGE


PROJECT = """project = torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.BatchNorm2d(64)
model.layer1[0].downsample = torch.nn.Sequential(*project)
"""
TIMM = """
import safetensors.torch, timm
model = timm.create_model("resnet{depth}", num_classes=10)
{project}model.maxpool = timm.layers.create_pool2d("max", 3, 2, padding="same")
model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
outputs = model.eval()(images)
"""


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("side", [64, 66])
def test_timm_loads_them_and_answers_to_1e_4_at_any_size(tmp_path: Path, depth: int, side: int):
    if subprocess.run(
        [pytorch(), "-c", "import timm"], check=False, capture_output=True, env=clean()
    ).returncode:
        pytest.skip("needs timm beside torch")
    part = part_of(depth, "imagenet")
    torch_weights.write(part, tmp_path)
    pictures = np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)
    found = in_torch(TIMM.format(depth=depth, project=PROJECT if depth < 50 else ""), tmp_path, pictures)
    close(found, part.call(tf.constant(pictures), False))


def test_what_they_have_no_network_for_is_refused(models: Models, small: Models, tmp_path: Path):
    selective = ResNet(50, width_multiplier=1 / 16, sk_ratio=0.0625)
    for encoder in (models.encoder, selective, small.encoder):
        with pytest.raises(UsageError, match="--format=torch: "):
            torch_weights.require_loadable(encoder)
    with pytest.raises(UsageError, match="--format=torch: the encoder is none of our ResNets"):
        export_models(small, str(tmp_path), formats=["torch"])
    assert not list(tmp_path.iterdir())


def test_a_classifier_on_a_head_layer_is_none_of_torchvisions(models: Models):
    head = models.projection_head.dense_layers
    encoder, classifier = models.encoder, models.classifier
    assert torch_weights.loadable(Part(None, [encoder, classifier], None, {}, []))
    assert not torch_weights.loadable(Part(None, [encoder, head[0], classifier], None, {}, []))
    assert not torch_weights.loadable(Part(None, [models.projection_head], None, {}, []))
