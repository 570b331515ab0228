"""Embeddings: every image with its id, at the layer that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.small_runs import Make, folder_of
from tf_simclr import embed, inputs, runs
from tf_simclr.config import Config


@pytest.mark.parametrize(("layer", "width"), [("h", 64), ("z", 8), ("1", 64), ("0", 64)])
def test_embed_writes_every_image_with_its_id(
    evaluating: Make, pretrained: Config, layer: str, width: int
) -> None:
    config = evaluating("embed", layer=layer, eval_split="test", eval_batch_size=100)
    embed.embed(config)
    with np.load(folder_of(config) / "embeddings_test.npz") as stored:
        values, ids, labels = stored["embedding"], stored["id"], stored["label"]
    assert values.shape == (360, width)
    assert len(set(ids)) == 360
    assert set(labels) == set(range(10))
    run = runs.load_run(pretrained.run.model_dir)
    batch = next(iter(inputs.evaluation_batches(config.data, inputs.eval_source(config))))
    h = run.encoder(batch["image"])
    number = {"h": 0, "z": 2}.get(layer, int(layer) if layer.isdigit() else 0)
    expected = run.projection_head.layer_outputs(h)[number].numpy()
    np.testing.assert_allclose(values[: len(expected)], expected, rtol=1e-4, atol=1e-5)
    assert ids[0] == batch["id"].numpy()[0].decode()


def test_embed_takes_all_splits_and_leaves_no_half_file(evaluating: Make) -> None:
    config = evaluating("embed")
    embed.embed(config)
    names = sorted(path.name for path in folder_of(config).glob("*embeddings*"))
    assert names == ["embeddings_test.npz", "embeddings_train.npz"]
