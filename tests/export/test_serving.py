"""TensorFlow Serving's own view of an export: saved_model_cli, and the request of docs/exports.md."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.parts import Models

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


def saved_model_cli(*words: str) -> str:
    code = "from tensorflow.python.tools.saved_model_cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def requests_of_the_page() -> dict[str, dict]:
    """The JSON bodies of the curl commands, by signature; `$(...)` left as it stands."""
    bodies = {}
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S):
        for command in re.split(r"^(?=curl )", block, flags=re.M):
            words = shlex.split(command.replace('"$(base64 -w0 cat.jpg)"', "FILE").replace("\\\n", ""))
            if words[:1] == ["curl"]:
                body = json.loads(words[words.index("-d") + 1])
                bodies[body["signature_name"]] = body
    return bodies


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_it(exports: Path, models: Models, tmp_path: Path):
    folder = str(exports / "classifier" / "1000")
    shown = saved_model_cli("show", "--dir", folder, "--all")
    assert "signature_def['serving_uint8']" in shown
    assert re.search(r"inputs\['images'\] tensor_info:\s+dtype: DT_UINT8\s+shape: \(-1, -1, -1, 3\)", shown)
    pixels = np.random.default_rng(0).integers(0, 256, [2, 32, 32, 3]).astype(np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    words = ["--tag_set", "serve", "--signature_def", "serving_uint8", "--outdir", str(tmp_path)]
    saved_model_cli("run", "--dir", folder, *words, "--inputs", f"images={tmp_path}/pixels.npy")
    h = models.projection_head.layer_outputs(models.encoder(tf.constant(pixels / np.float32(255))))[1]
    expected = tf.nn.softmax(models.classifier(h))
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("signature", ["serving_bytes", "serving_uint8"])
def test_requests_of_the_page_are_what_the_signatures_take(exports: Path, signature: str):
    """As Serving reads them: an instance a row, "b64" for bytes, the type of the signature's tensor."""
    model = tf.saved_model.load(str(exports / "classifier" / "1000"))
    served = model.signatures[signature]
    instances = requests_of_the_page()[signature]["instances"]
    rows = [instance[name] for instance in instances for name in instance]
    if signature == "serving_bytes":
        image = tf.io.encode_png(tf.zeros([40, 40, 3], tf.uint8)).numpy()
        assert rows == [{"b64": "FILE"}]
        rows = [base64.b64decode(base64.b64encode(image))]
    (spec,) = served.structured_input_signature[1].values()
    assert {name for instance in instances for name in instance} == {spec.name}
    answer = served(**{spec.name: tf.constant(rows, spec.dtype)})
    assert answer["probabilities"].shape == [len(rows), 3]
