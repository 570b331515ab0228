"""The state probe: what is in the image is read from it, of the frozen encoder that the run has."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_runs import result_of
from tf_simclr import models, networks, runs, state_probe
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.methods.curl import CURL

ENCODER = "tf_simclr.networks:pixels(dim=12, filters=4, layers=1, side=16)"


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright bar somewhere on black, its place as state, and one number that no image shows."""
    folder = tmp_path_factory.mktemp("bars")
    rng, rows = np.random.default_rng(0), ["file,episode,step,place,unseen"]
    for split, count in (("train", 60), ("test", 30)):
        (folder / split).mkdir()
        for number in range(count):
            place, pixels = rng.uniform(3, 29), np.zeros([32, 32, 3])
            distances = np.arange(32) - place
            pixels[4:28] = 255 * np.exp(-np.square(distances) / 8)[:, np.newaxis]
            name = f"{split}/{number:03d}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            rows.append(f"{name},{split}_{number},0,{place},{rng.normal()}")
    (folder / "states.csv").write_text("\n".join(rows) + "\n")
    return folder


def config_of(bars: Path, folder: Path, **changes: object) -> Config:
    own = {"encoder": ENCODER, "proj_head_mode": "none", "image_size": 16, "model_dir": str(folder)}
    return Config("state_probe").replace(**{"dataset": f"folder:{bars}", **own, **changes})


@pytest.fixture(scope="module")
def curl_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of CURL's encoder with random weights."""
    folder = str(tmp_path_factory.mktemp("curl") / "run")
    encoder = networks.KerasEncoder(ENCODER, image_size=16)
    model = models.Pretraining(CURL(), encoder, models.ProjectionHead("none"))
    model.compile(image_size=16)
    models.save_run(model, folder, image_size=16)
    return folder


def test_places_are_read_and_what_no_image_shows_is_not(
    bars: Path, tmp_path: Path, curl_run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(bars, tmp_path / "probe", checkpoint=curl_run)
    result = state_probe.state_probe(config)
    assert result == result_of(config)
    place, unseen = result["states"]
    assert (place["state"], unseen["state"]) == ("place", "unseen")
    assert place["pixels R2"] > 0.9
    assert place["h R2"] > 0.5
    assert place["h R2"] == pytest.approx(1 - (place["h error"] / _deviation(bars)) ** 2, rel=1e-6)
    assert max(unseen[f"{name} R2"] for name in state_probe.REPRESENTATIONS) < 0.3
    own = encoder_sha256(runs.load_run(curl_run).encoder)
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"] == own
    assert (result["num_train_examples"], result["num_eval_examples"], result["width"]) == (60, 30, 12)
    assert (tmp_path / "probe" / state_probe.MARKDOWN).read_text() in capsys.readouterr().out


def _deviation(bars: Path) -> float:
    rows = (line.split(",") for line in (bars / "states.csv").read_text().splitlines())
    return float(np.std([float(row[3]) for row in rows if row[0].startswith("test/")]))


def test_without_a_checkpoint_h_is_the_untrained_encoders(bars: Path, tmp_path: Path) -> None:
    result = state_probe.state_probe(config_of(bars, tmp_path, state_images=40))
    assert (result["num_train_examples"], result["num_eval_examples"]) == (40, 30)
    place, _ = result["states"]
    assert math.isfinite(place["h R2"])
    assert place["h R2"] != place["untrained R2"]  # another draw of random weights


def test_an_image_without_a_state_is_named_before_anything_is_computed(bars: Path, tmp_path: Path) -> None:
    lines = (bars / "states.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:-1]) + "\n")
    config = config_of(bars, tmp_path / "probe", states=str(tmp_path / "few.csv"))
    with pytest.raises(UsageError, match=r"few\.csv: has no row for 'test/029\.png'"):
        state_probe.state_probe(config)
