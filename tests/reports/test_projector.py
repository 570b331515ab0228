"""TensorBoard's own projector reads what is written for it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image
from tensorboard.backend import application
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from werkzeug import test as werkzeug_test
from werkzeug import wrappers

from tf_simclr.reports import projector


def client_of(folder: Path) -> werkzeug_test.Client:
    """TensorBoard as `tensorboard --logdir=folder` runs it, with the one plugin."""
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(folder))
    context = base_plugin.TBContext(logdir=str(folder), data_provider=provider)
    served = application.TensorBoardWSGI([projector_plugin.ProjectorPlugin(context)])
    return werkzeug_test.Client(served, wrappers.Response)


@pytest.mark.parametrize("below", [".", "search/logs"])
@pytest.mark.parametrize("labelled", [True, False])
def test_tensorboard_reads_tensors_names_and_pictures(tmp_path: Path, below: str, labelled: bool) -> None:
    """Given the folder itself, or one that holds it among other runs."""
    values = np.random.default_rng(0).normal(size=[7, 5]).astype(np.float32)
    names = ["a\tb.png", "<b>.png", "ü.png", "1", "2", "3", "line\nbreak"]
    columns = {"file": names, "cluster": list(range(7))} if labelled else {"file": names}
    pictures = [np.full([9, 9, 3], 30 * number, np.uint8) for number in range(7)]
    projector.write(epath.Path(tmp_path / below), "z", values, columns, pictures)
    client = client_of(tmp_path)
    (info,) = client.get(f"/data/plugin/projector/info?run={below}").json["embeddings"]
    assert (info["tensorName"], info["tensorShape"]) == ("z", [7, 5])
    asked = f"?run={below}&name={info['tensorName']}"
    tensor = np.frombuffer(client.get(f"/data/plugin/projector/tensor{asked}").data, np.float32)
    np.testing.assert_allclose(tensor.reshape(7, 5), values, rtol=1e-5)
    lines = client.get(f"/data/plugin/projector/metadata{asked}").text.splitlines()
    assert lines[1:3] == (["a b.png\t0", "<b>.png\t1"] if labelled else ["<b>.png", "ü.png"])
    assert len(lines) == 7 + labelled
    sprite = Image.open(io.BytesIO(client.get(f"/data/plugin/projector/sprite_image{asked}").data))
    side, _ = info["sprite"]["singleImageDim"]
    assert sprite.size == (3 * side, 3 * side)
    assert sprite.getpixel((side // 2, side + side // 2)) == (90, 90, 90)  # the fourth, first of row two
