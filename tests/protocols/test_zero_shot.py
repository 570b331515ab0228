"""zero_shot: the classifier that prompts make, resuming the run behind it, and mistakes in one line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import Make, assert_same_run, folder_of, result_of
from tf_simclr import pretrain, runs, zero_shot
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.protocols import prompting

TEXT: dict[str, Any] = {"text_width": 8, "text_layers": 1, "text_heads": 2, "text_length": 9}
HEAD = {"proj_head_mode": "linear", "proj_batch_norm": "none"}


@pytest.fixture(scope="module")
def trained(tiny: Make) -> Config:
    config = tiny(method="clip", **TEXT, **HEAD, caption_templates="the digit {}|{}", optimizer="adam")
    config = config.replace(learning_rate=0.01)
    pretrain.pretrain(config)
    return config


@pytest.fixture(scope="module")
def asking(tiny: Make, trained: Config) -> Make:
    def make(**changes: Any) -> Config:
        return tiny("zero_shot", checkpoint=trained.run.model_dir, **{**HEAD, **changes})

    return make


def test_it_says_what_it_measured_beside_chance(asking: Make) -> None:
    config = asking(prompts="the digit {}|number {}")
    zero_shot.zero_shot(config)
    result = result_of(config)
    assert result["num_eval_examples"] == 360
    assert result["chance"] == pytest.approx(10.0)
    prompts = json.loads((folder_of(config) / "prompts.json").read_text())
    assert prompts["3"] == ["the digit 3", "number 3"]
    with np.load(folder_of(config) / "predictions.npz") as kept:
        assert result["top1"] == pytest.approx(100 * np.mean(kept["prediction"] == kept["label"]))


def test_a_class_is_the_normalised_mean_of_its_prompts(trained: Config) -> None:
    run = runs.load_run(trained.run.model_dir)
    images = tf.random.stateless_uniform([4, 8, 8, 3], [1, 2])
    prompts = [["the digit 1", "1"], ["2"], ["never heard", "the digit 3", "3"]]
    texts, head = run.require_texts()
    z = head(run.encoder(images)).numpy()
    expected = np.zeros([4, 3])
    for image, number in np.ndindex(4, 3):
        rows = [texts(tf.constant([prompt])).numpy()[0] for prompt in prompts[number]]
        mean = np.mean([row / np.linalg.norm(row) for row in rows], axis=0)
        cosine = z[image] @ mean / np.linalg.norm(z[image]) / np.linalg.norm(mean)
        expected[image, number] = np.exp(float(texts.scale.t)) * cosine
    np.testing.assert_allclose(prompting.classifier(run, prompts)(images), expected, rtol=1e-4, atol=1e-4)


def test_without_prompts_the_templates_of_the_run_count(asking: Make, trained: Config) -> None:
    settings = runs.load_run(trained.run.model_dir).settings
    assert prompting.prompts(asking(), settings, ["a_b"]) == {"a_b": ["the digit a b", "a b"]}
    captioned = {"method": {**settings["method"], "captions": "x.csv"}}
    assert prompting.prompts(asking(), captioned, ["a_b"]) == {"a_b": ["a b"]}


def test_prompts_of_a_csv(asking: Make, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text('class,prompt\nb,bee\na,ay\nb,"b, the letter"\n')
    found = prompting.prompts(asking(prompts=str(path)), {"method": {}}, ["a", "b"])
    assert found == {"a": ["ay"], "b": ["bee", "b, the letter"]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("class,prompt\na,x", "has no row for the class 'b'"),
        ("class,prompt\na,x\nb,y\nc,z", "has no class 'c'"),
        ("class,text\na,x", "has no column 'prompt'"),
        (None, "there is no such file"),
    ],
)
def test_a_csv_of_other_classes_is_one_line(
    rows: str | None, message: str, asking: Make, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.csv"
    if rows is not None:
        path.write_text(rows)
    with pytest.raises(UsageError, match=re.escape(message)):
        prompting.prompts(asking(prompts=str(path)), {"method": {}}, ["a", "b"])


def test_a_prompt_without_a_place_for_the_class_is_refused(asking: Make, trained: Config) -> None:
    config = asking(prompts="a photo of a {}|a photo")
    with pytest.raises(UsageError, match=r"'a photo' has no \{\} for the class"):
        zero_shot.zero_shot(config)
    assert not (folder_of(config) / "config.json").exists()


def test_a_run_of_another_method_has_no_texts(tiny: Make, pretrained: Config) -> None:
    config = tiny("zero_shot", checkpoint=pretrained.run.model_dir)
    with pytest.raises(UsageError, match="give one of pretrain --method=clip"):
        zero_shot.zero_shot(config)


@pytest.mark.slow
def test_a_run_that_was_cut_draws_the_same_captions(trained: Config, tmp_path: Path) -> None:
    whole, cut = folder_of(trained), tmp_path / "cut"
    shutil.copytree(whole, cut)
    for path in (cut / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    pretrain.pretrain(trained.replace(model_dir=str(cut)))
    assert_same_run(whole, cut)


def test_captions_of_other_words_are_refused(trained: Config, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(folder_of(trained), cut)
    with (cut / "vocabulary.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(UsageError, match=r"other words than when the run began \(vocabulary.txt\)"):
        pretrain.pretrain(trained.replace(model_dir=str(cut)))
