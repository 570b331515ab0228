"""Table 3: the views, what is to be told of them, and the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import TINY, Make, folder_of, never, result_of, write_images
from tf_simclr import inputs, transformation_probe
from tf_simclr.augment import Augmentations
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.protocols import as_pretrained, transformations

SIDE, COUNT = 12, 90


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("coloured")
    write_images(folder, {"train": COUNT // 2})
    return Config("transformation_probe").replace(
        dataset=f"folder:{folder}", image_size=SIDE, eval_batch_size=40
    )


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(tf.image.rgb_to_grayscale(image), 3, axis=-1)


def edges(image: np.ndarray) -> np.ndarray:
    return np.clip(
        np.sqrt(np.sum(tf.image.sobel_edges(tf.constant(image[None]))[0].numpy() ** 2, axis=-1)), 0, 1
    )


@pytest.mark.parametrize(
    ("name", "share", "changed"),
    [
        ("color", 0.2, lambda image, label: grey(image)),
        ("rotation", 0.75, np.rot90),
        ("noise", 0.5, None),
        ("sobel", 0.5, lambda image, label: edges(image)),
    ],
)
def test_labels_say_what_was_done_to_a_coloured_crop(
    coloured: Config, name: str, share: float, changed: Callable | None
) -> None:
    source = inputs.any_split(coloured, "train")
    batches = list(transformations.transformed(coloured, name, source, COUNT - 5))
    assert [batch["image"].shape[0] for batch in batches] == [40, 40, 5]
    images, labels = (np.concatenate([batch[key] for batch in batches]) for key in ("image", "label"))
    assert abs(np.mean(labels > 0) - share) < 4 * np.sqrt(share * (1 - share) / len(labels))
    assert len(np.unique(labels)) == transformations.named(name).num_classes

    colours = Augmentations(transformations.colours(coloured, name), jit_compile=False)
    needed = colours.num_uniforms + transformations.named(name).operation.num_uniforms
    crops = inputs.training_batches(coloured.replace(train_batch_size=40), source, needed)(0)
    batch = next(iter(crops))
    plain = colours(batch["image"], batch["uniforms"][:, : colours.num_uniforms]).numpy()
    assert np.abs(plain - batch["image"] / 255).max() > 0.05
    for image, label, before in zip(images, labels, plain, strict=False):
        if not label:
            np.testing.assert_allclose(image, before, atol=1e-4)
        elif changed is None:
            assert 0.03 < np.std(image - before) < 0.12  # clipped where it leaves [0, 1]
        else:
            np.testing.assert_allclose(image, changed(before, label), atol=1e-3)


def test_views_are_those_of_the_pretraining_along_the_chain(tmp_path: Path, coloured: Config) -> None:
    pretrained = Config("pretrain").replace(
        **TINY, crop_area_min=0.4, augmentations="crop,color(strength=0.5),rotate|blur", one_branch=False
    )
    tuned = dataclasses.replace(Config("finetune").replace(**TINY), pretrained_by=pretrained.to_tree())
    (tmp_path / "config.json").write_text(tuned.to_json())
    config = as_pretrained.views(coloured.replace(checkpoint=str(tmp_path)))
    assert (config.views.crop_area_min, config.views.use_flip) == (0.4, False)
    assert config.data == coloured.data
    for name, share in (("color", 0.0), ("sobel", 0.2)):
        (colour,) = transformations.colours(config, name)
        assert (colour.strength, colour.grey_probability) == (0.5, share)
    assert transformations.colours(config.replace(augmentations="crop,blur"), "color") == []
    assert as_pretrained.views(coloured) == coloured
    assert as_pretrained.colours(as_pretrained.views(coloured.replace(channels=1))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_size": "8x12"}, "rotation is of square images, not 8x12"),
        ({"channels": 1}, "color is of RGB"),
    ],
)
def test_what_these_images_cannot_have_done_to_them(changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        transformations.names(Config("transformation_probe").replace(**changes))
    kept = Config("transformation_probe").replace(**changes, transformations="noise, sobel")
    assert transformations.names(kept) == ["noise", "sobel"]


@pytest.mark.slow
def test_the_table_is_kept_and_a_finished_row_is_not_computed_again(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"transformations": "sobel", "transformed_images": 300, "mlp_steps": 200}
    config = evaluating("transformation_probe", **options)
    transformation_probe.transformation_probe(config)
    result = result_of(config)
    (row,) = result["transformations"]
    assert 55 < row["g(h)"] < 100
    assert 65 < row["h"] < 100  # by what six steps have learned
    assert (row["chance"], row["paper h"], row["paper g(h)"]) == (50, 96.6, 56.3)
    assert (result["num_eval_examples"], result["eval_split"]) == (300, "test")
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"]
    table = (folder_of(config) / "transformation_probe.md").read_text()
    assert f"| original or Sobel | 50.0 | {row['h']:.1f} | {row['g(h)']:.1f} | 96.6 | 56.3 |" in table
    monkeypatch.setattr(
        transformation_probe,
        "features",
        SimpleNamespace(extract_features=never, encoder_sha256=transformation_probe.features.encoder_sha256),
    )
    transformation_probe.transformation_probe(config)
    assert result_of(config)["transformations"] == result["transformations"]


@pytest.mark.slow
def test_seeds_vary_the_draws_and_give_means(evaluating: Make) -> None:
    config = evaluating("transformation_probe", transformations="rotation,noise", seeds="0,1", mlp_steps=20)
    transformation_probe.transformation_probe(config)
    result = result_of(config)
    assert [row["transformation"] for row in result["transformations"]] == ["rotation", "noise"]
    for row in result["transformations"]:
        for of in ("h", "g(h)"):
            assert row[of] == np.mean(row[f"{of} per seed"])
            assert row[f"{of} std"] == np.std(row[f"{of} per seed"], ddof=1)
    assert result["transformations"][0]["h per seed"][0] != result["transformations"][0]["h per seed"][1]
    assert "±" in (folder_of(config) / "transformation_probe.md").read_text()
