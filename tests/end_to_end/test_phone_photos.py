"""A folder as a phone leaves it, through the real commands: what they say of it; all of it is used."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import __main__ as export_main
from tests.data.pictures import encoded, picture, stored, write
from tf_simclr import embed, knn, pretrain

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}
SMALL = (
    "--image_size=8 --resnet_depth=18 --width_multiplier=0.125 --train_batch_size=8 --train_steps=2".split()
)


@pytest.fixture
def photos(tmp_path: Path) -> str:
    files = {"train/notes.txt": b"", "train/a/IMG.heic": b""}
    for number in range(16):
        (ending, kind), orientation = list(KINDS.items())[number % 4], (1, 6, 3, 8)[number // 4]
        image = stored(picture(12, 17, seed=number), orientation)
        for split in ("train", "test"):
            files[f"{split}/{'ab'[number % 2]}/{number}.{ending}"] = encoded(image, kind, orientation)
    return write(tmp_path / "photos", files)


def _run(main: object, *arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(arguments) == 0  # type: ignore[operator]
    return out.getvalue()


@pytest.mark.slow
def test_all_of_it_is_used_and_upright_from_training_to_export(photos: str, tmp_path: Path) -> None:
    run, h = str(tmp_path / "run"), tmp_path / "h"
    flags = [f"--dataset={photos}", *SMALL, "--exif=apply", f"--model_dir={run}"]
    said = _run(pretrain.main, *flags, "--cache_dataset")
    assert "train holds 4 jpeg, 4 png, 4 tiff, 4 webp; classes from folders: a, b\n" in said
    assert "train leaves out 1 .heic (no decoder); 1 without an image's extension (train/notes.txt)\n" in said
    assert "test holds 4 jpeg" in _run(knn.main, f"--checkpoint={run}", f"--model_dir={tmp_path / 'knn'}")
    _run(embed.main, f"--checkpoint={run}", "--eval_split=test", f"--model_dir={h}")
    assert json.loads((h / "config.json").read_text())["data"]["exif"] == "apply"
    embedded = np.load(h / "embeddings_test.npz")
    _run(export_main.main, f"--checkpoint={run}", f"--output_dir={tmp_path / 'exports'}")
    served = tf.saved_model.load(str(tmp_path / "exports" / "encoder" / "2")).signatures["serving_bytes"]
    root = Path(photos.removeprefix("folder:"))
    for name, expected in zip(embedded["id"], embedded["embedding"], strict=True):
        if name.endswith(("jpg", "png")):
            found = served(image_bytes=tf.constant([(root / name).read_bytes()]))["default"][0]
            np.testing.assert_allclose(found, expected, atol=1e-4)
