"""The map is one small file: every picture in its cell, any name as it is, nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.reports.test_page import read
from tf_simclr.reports import map_page
from tf_simclr.reports.map_page import Point, write_map

HOSTILE = "<img src=x onerror=alert(1)>.png"
ENDING = '</script><script>document.title="x"</script>&amp;"'


def written(folder: Path, count: int, name: str = HOSTILE) -> Path:
    pictures = [np.full([20, 12 + number % 9, 3], number % 256, np.uint8) for number in range(count)]
    points = [Point(picture, name, "cluster 3", number) for number, picture in enumerate(pictures)]
    places = np.linspace(0, 1, 2 * count).reshape(count, 2)
    write_map(folder / "map.html", f"search: {name}", name, places, points)
    return folder / "map.html"


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    return json.loads(text)


def test_every_picture_lies_in_its_cell(tmp_path: Path) -> None:
    data = data_of(written(tmp_path, 260))
    sheets = [Image.open(io.BytesIO(base64.b64decode(sheet.partition(",")[2]))) for sheet in data["sheets"]]
    assert len(sheets) == 2
    for number, point in enumerate(data["points"]):
        row, column = divmod(number % 256, data["across"])
        pixels = np.asarray(sheets[number // 256])[row * data["side"] :, column * data["side"] :]
        inner = pixels[4 : point["h"] - 4, 4 : point["w"] - 4]
        np.testing.assert_allclose(inner, number % 256, atol=12)
        assert (point["w"], point["h"]) == (12 + number % 9, 20)


@pytest.mark.parametrize("name", [HOSTILE, ENDING])
def test_any_name_is_shown_as_it_is_and_nothing_is_loaded(tmp_path: Path, name: str) -> None:
    page = written(tmp_path, 3, name)
    assert {point["name"] for point in data_of(page)["points"]} == {name}
    reader = read(page)
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 2
    assert reader.texts.count(name) == 1  # the note
    assert reader.texts.count(f"search: {name}") == 2
    assert "http:" not in page.read_text()
    assert "default-src 'none'" in page.read_text()


def test_photographs_make_a_small_page(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    points = []
    for file in sorted(shared("data/imagenet_sample/train").glob("*/*.JPEG")):
        picture = Image.open(file).convert("RGB")
        picture.thumbnail((map_page.largest_side(250),) * 2)
        points.append(Point(np.asarray(picture), file.name, "", -1))
    write_map(tmp_path / "map.html", "photographs", "", np.random.default_rng(0).random([250, 2]), points)
    assert (tmp_path / "map.html").stat().st_size < 2_500_000


@pytest.mark.parametrize("name", [HOSTILE, ENDING])
def test_a_browser_draws_all_of_it(tmp_path: Path, name: str) -> None:
    browser = next(
        filter(None, map(shutil.which, ["chromium-headless-shell", "chromium", "google-chrome"])), None
    )
    if browser is None:
        pytest.skip("needs chromium")
    page = written(tmp_path, 30, name)
    flags = ["--headless", "--no-sandbox", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True, check=True)
    assert 'data-drawn="30"' in done.stdout
    assert "onerror=alert(1)>" not in re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S)
