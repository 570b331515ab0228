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


def test_rest_request_of_the_page_is_what_the_signature_takes(exports: Path):
    (command,) = (block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) if "curl" in block)
    image = tf.io.encode_base64(tf.io.encode_png(tf.zeros([40, 40, 3], tf.uint8))).numpy().decode()
    words = shlex.split(command.replace('"$(base64 -w0 cat.jpg)"', image).replace("\\\n", ""))
    request = json.loads(words[words.index("-d") + 1])
    (instance,) = request["instances"]
    content = tf.io.decode_base64(instance["image_bytes"]["b64"])
    model = tf.saved_model.load(str(exports / "classifier" / "1000"))
    answer = model.signatures[request["signature_name"]](image_bytes=content[tf.newaxis])
    assert answer["probabilities"].shape == [1, 3]


def test_commands_of_the_page_parse():
    commands = re.findall(r"^python -m export (.*)$", PAGE, re.M)
    assert len(commands) == 2
    for command in commands:
        assert define_flags()(["export", *shlex.split(command)]) == ["export"]
