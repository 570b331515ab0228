"""The command line, and the snippets of README.md and docs/exports.md."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

from export.__main__ import define_flags, main
from tests.small_runs import folder_of
from tf_simclr.config import Config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")


def test_help_answers_at_once_without_tensorflow():
    code = (
        "import sys; from export.__main__ import main; assert main(['--help']) == 0; "
        "assert not {'tensorflow', 'tf_simclr'} & set(sys.modules)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert time.monotonic() - start < 2
    assert "--output_dir" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--checkpoint and --output_dir"),
        (["--checkpoint=RUN"], "--checkpoint and --output_dir"),
        (["--nonsense=1"], "nonsense"),
        (["stray", "--verify=DIR"], "stray"),
        (["--verify=DIR", "--checkpoint=RUN", "--output_dir=OUT"], "without --checkpoint"),
        (["--verify=DIR", "--output_dir=OUT"], "without --checkpoint"),
        (["--checkpoint=/nowhere/run", "--output_dir=OUT"], "/nowhere/run"),
        (["--checkpoint=/nowhere/run", "--output_dir=OUT", "--format=coreml"], "coreml"),
        (["--checkpoint=RUN", "--output_dir=OUT", "--format=onnx", "--input_size=x"], "--input_size=x: give"),
        (["--checkpoint=RUN", "--output_dir=OUT", "--format=onnx", "--input_size=0"], "--input_size=0: must"),
        (["--checkpoint=RUN", "--output_dir=OUT", "--input_size=32"], "--input_size is for TFLite and ONNX"),
        (["--checkpoint=RUN", "--output_dir=OUT", "--input_batch=1"], "--input_batch is for TFLite and ONNX"),
        (["--checkpoint=RUN", "--output_dir=OUT", "--format=onnx", "--input_batch=-1"], "input_batch"),
        (["--verify=/nowhere/exports"], "/nowhere/exports"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], says: str, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("export: ")
    assert says in line


def snippet(page: str, words: str, exports: Path) -> str:
    """The Python block of the page that holds `words`, on this export."""
    (block,) = (block for block in re.findall(r"```py(?:thon)?\n(.*?)```", page, re.S) if words in block)
    return block.replace('"exports/', f'"{exports}/')


def test_readme_for_plain_tensorflow(exports: Path):
    names = {}
    exec(snippet(README, "encoder = tf.saved_model", exports), names)
    assert names["h"].shape == [2, 128]
    assert len([gradient for gradient in names["gradients"] if gradient is not None]) == 63


def test_snippet_for_hub(exports: Path):
    pytest.importorskip("tensorflow_hub", reason="needs requirements-hub.txt")
    names = {}
    exec(snippet(PAGE, "import tensorflow_hub", exports), names)
    assert len(names["model"].trainable_weights) == 65


KERAS_3_CHECKS = """
weights = [w.numpy() for w in model.weights]
assert len(model.trainable_weights) == 65, len(model.trainable_weights)
model.fit(np.random.rand(8, 32, 32, 3).astype("float32"), np.arange(8), verbose=0)
still = [w.name for w, old in zip(model.weights, weights) if np.array_equal(w.numpy(), old)]
assert not still, still
assert encoder(np.zeros([0, 32, 32, 3], "float32")).shape == (0, 128)
"""


def test_readme_for_keras_3_trains_everything(exports: Path):
    python = os.environ.get("TF_SIMCLR_NEWER_PYTHON", sys.executable)
    if sys.version_info < (3, 12) and python == sys.executable:
        pytest.skip("needs a Python with Keras 3: set TF_SIMCLR_NEWER_PYTHON")
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    code = snippet(README, "TFSMLayer", exports) + KERAS_3_CHECKS
    done = subprocess.run([python, "-c", code], env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


MIXED = """
import tensorflow as tf
import tensorflow_hub as hub
tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
layer = {layer}
model = tf.keras.Sequential([layer, tf.keras.layers.Dense(10)])
logits = model(tf.random.uniform([8, 32, 32, 3]))
"""


def test_hub_layer_under_mixed_precision_is_told_its_type(exports: Path):
    pytest.importorskip("tensorflow_hub", reason="needs requirements-hub.txt")
    (layer,) = re.findall(r"^(hub\.KerasLayer\(.*dtype=.*\))$", PAGE, re.M)
    names: dict[str, object] = {}
    exec(MIXED.format(layer=layer.replace('"exports/', f'"{exports}/')), names)
    assert names["logits"].dtype == tf.bfloat16
    with pytest.raises(ValueError, match="dtype=bfloat16"):  # what the page says of the layer without
        exec(
            MIXED.format(layer=layer.replace('"exports/', f'"{exports}/').replace(', dtype="float32"', "")),
            {},
        )


KERAS_3_MIXED = """
import keras, numpy as np
keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
encoder = {layer}
model = keras.Sequential([keras.Input([32, 32, 3]), encoder, keras.layers.Dense(10)])
assert model(np.zeros([2, 32, 32, 3], "float32")).shape == (2, 10)
assert encoder(np.zeros([2, 32, 32, 3], "float32")).dtype == "float32"
"""


def test_keras_3_layer_under_mixed_precision_is_told_its_type(exports: Path):
    python = os.environ.get("TF_SIMCLR_NEWER_PYTHON", sys.executable)
    if sys.version_info < (3, 12) and python == sys.executable:
        pytest.skip("needs a Python with Keras 3: set TF_SIMCLR_NEWER_PYTHON")
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    (layer,) = re.findall(r"^(keras\.layers\.TFSMLayer\(\n(?:    .*\n)+\))$", PAGE, re.M)
    code = KERAS_3_MIXED.format(layer=layer.replace('"exports/', f'"{exports}/'))
    done = subprocess.run([python, "-c", code], env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_drop_of_a_run_is_printed_and_kept(pretrained: Config, tmp_path: Path, capsys):
    flags = [f"--checkpoint={folder_of(pretrained)}", f"--output_dir={tmp_path}", "--format=tflite_int8"]
    assert main([*flags, "--input_size=10", "--input_batch=4"]) == 0
    (line,) = (
        line for line in capsys.readouterr().out.splitlines() if line.startswith("classifier_tflite_int8:")
    )
    facts = json.loads((tmp_path / "classifier_tflite_int8" / "6" / "export.json").read_text())
    assert facts["input_shape"] == [4, 10, 10, 3]
    assert f"top-1 of 360 images (digits test): live {facts['drop']['live_top1']:.2f} %" in line
    assert facts["drop"]["cosine"] > 0.9


def test_commands_of_the_page_parse():
    commands = re.findall(r"^python -m export (.*)$", PAGE, re.M)
    assert len(commands) == 7
    for command in commands:
        assert define_flags()(["export", *shlex.split(command)]) == ["export"]
