"""Search: neighbours, near-duplicates, clusters and a map, with and without labels, of any file names."""

from __future__ import annotations

import collections
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from tests.reports.test_page import read
from tests.small_runs import Make, folder_of, never, result_of, rows_of
from tf_simclr import search
from tf_simclr.config import Config
from tf_simclr.evaluation import features
from tf_simclr.protocols import search_pictures

HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(autouse=True)
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_pictures, "MOST_POINTS", 40)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures, each wider than the last; one is there twice, under a name to be careful with."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 32 * number + 32, [14, 12 + number, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / HOSTILE).write_bytes((folder / "3.png").read_bytes())
    return folder


def points_of(folder: Path) -> list[dict]:
    text = re.search(r'id="data">(.*?)</script>', (folder / "map.html").read_text(), re.S)
    return json.loads(text[1])["points"]


def test_every_image_has_its_neighbours_cluster_and_place(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evaluating("search", neighbours=3, clusters="5", eval_batch_size=512)
    search.search(config)
    folder = folder_of(config)
    (stored,) = (folder / "features").glob("*.npz")
    with np.load(stored) as content:
        values, ids, labels = content["values"], content["ids"], content["labels"]
    reference = NearestNeighbors(metric="cosine", algorithm="brute").fit(values)
    distances, _ = reference.kneighbors(n_neighbors=3)
    rows = rows_of(folder / "neighbours.csv")
    assert [row["query"] for row in rows] == np.repeat(ids, 3).tolist()
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * len(ids)
    assert all(row["query"] != row["file"] for row in rows)
    np.testing.assert_allclose([float(row["cosine"]) for row in rows], 1 - distances.ravel(), atol=1e-5)
    clusters = rows_of(folder / "clusters.csv")
    assert [row["file"] for row in clusters] == ids.tolist()
    sizes = collections.Counter(int(row["cluster"]) for row in clusters)
    result = result_of(config)
    assert [row["images"] for row in result["clusters"]] == [sizes[number] for number in range(5)]
    assert (result["bank_images"], result["num_eval_examples"], result["index"]) == (1437, 1437, "exact")
    assert "40 of 1,437 images" in (folder / "map.html").read_text()
    assert "frames: classes" in (folder / "map.html").read_text()
    label = dict(zip(ids, labels, strict=True))
    assert {(point["name"], point["colour"]) for point in points_of(folder)} <= set(label.items())
    assert "24 of 1,437 queries" in (folder / "search.html").read_text()
    assert "Nearest neighbours, near-duplicates and clusters" in (folder / "report.html").read_text()
    assert (folder / "logs" / "projector_config.pbtxt").exists()

    monkeypatch.setattr(features, "extract_features", never)
    search.search(config.replace(clusters="none", map="none", neighbours=1))
    assert len(rows_of(folder / "neighbours.csv")) == 1437
    for gone in ("clusters.csv", "map.html", "logs/projector_config.pbtxt"):
        assert not (folder / gone).exists()


def test_unlabelled_images_are_searched_for_by_others(evaluating: Make, photos: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    asked.mkdir()
    for number in (5, 2):
        (asked / f"copy of {number}.png").write_bytes((photos / f"{number}.png").read_bytes())
    options = {"dataset": f"folder:{photos}", "queries": f"folder:{asked}", "duplicates_above": 0.999999}
    config = evaluating("search", neighbours=4, layer="z", **options)
    search.search(config)
    folder = folder_of(config)
    rows = rows_of(folder / "neighbours.csv")
    nearest = [(row["query"], row["file"]) for row in rows if row["rank"] == "1"]
    assert nearest == [("copy of 2.png", "2.png"), ("copy of 5.png", "5.png")]
    assert len(rows) == 8
    groups = rows_of(folder / "duplicates.csv")
    assert [(row["group"], row["file"]) for row in groups] == [("0", "3.png"), ("0", HOSTILE)]
    assert {len(row["cosine"]) for row in groups} == {8}
    names = [*(f"{number}.png" for number in range(8)), HOSTILE]
    widths = dict(zip(names, [*range(12, 20), 15], strict=True))
    assert {point["name"]: point["w"] for point in points_of(folder)} == widths
    for stored in (folder / "features").glob("*.npz"):
        with np.load(stored) as content:
            assert content["values"].shape[1] == 8  # z
    for page in ("search.html", "map.html", "report.html"):
        reader = read(folder / page)
        assert ("src", "x") not in reader.attributes
        assert "onerror" not in dict(reader.attributes)
    metadata = (folder / "logs" / "metadata.tsv").read_text().splitlines()
    assert (metadata[0], len(metadata)) == ("file\tcluster", 10)


def test_the_bank_of_a_split_is_asked_for_another(evaluating: Make) -> None:
    config = evaluating("search", train_split="test", eval_split="train", map="none", clusters="none")
    search.search(config)
    assert (result_of(config)["bank_images"], result_of(config)["num_eval_examples"]) == (360, 1437)


@pytest.mark.parametrize(
    ("kept", "arguments", "words"),
    [
        (0, [], ["is empty"]),
        (1, [], ["has one image", "--queries"]),
        (4, ["--neighbours=4"], ["--neighbours=4", "3"]),
        (4, ["--neighbours=5", "--queries=folder:{photos}"], ["--neighbours=5", "4"]),
        (4, ["--neighbours=1", "--clusters=5"], ["--clusters=5", "4"]),
        (4, ["--clusters=0"], ["--clusters=0"]),
        (4, ["--duplicates_above=-1"], ["--duplicates_above=-1"]),
        (4, ["--duplicates_above=1.01"], ["--duplicates_above=1.01"]),
        (4, ["--neighbours=1", "--queries=folder:/no/such"], ["--queries=folder:/no/such"]),
        (4, ["--neighbours=1", "--layer=9"], ["--layer=9"]),
    ],
)
def test_mistakes_are_one_line(
    kept: int,
    arguments: list[str],
    words: list[str],
    photos: Path,
    pretrained: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in sorted(photos.iterdir())[kept:]:
        file.unlink()
    given = [argument.format(photos=photos) for argument in arguments]
    run = [f"--checkpoint={pretrained.run.model_dir}", f"--dataset=folder:{photos}"]
    assert search.main([*run, *given, f"--model_dir={tmp_path / 'out'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("search: ")
    for word in words:
        assert word in line
    assert not (tmp_path / "out" / "neighbours.csv").exists()


def test_a_broken_query_is_named(
    photos: Path, pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "half.png").write_bytes((photos / "1.png").read_bytes()[:60])
    run = [f"--checkpoint={pretrained.run.model_dir}", f"--dataset=folder:{photos}", "--neighbours=2"]
    asked = f"--queries=folder:{tmp_path / 'asked'}"
    assert search.main([*run, asked, f"--model_dir={tmp_path / 'out'}"]) == 2
    assert "half.png" in capsys.readouterr().err
