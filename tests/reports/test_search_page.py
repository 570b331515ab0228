"""The page and the sheet of a search show each picture, and any name as it is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.reports.test_page import read
from tf_simclr.reports import search_page
from tf_simclr.reports.contact_sheet import GAP
from tf_simclr.reports.search_page import Block, Shown

HOSTILE = '</style><img src=x onerror=alert(1)>"&amp;.png'
PICTURES = [np.full([40, 60, 3], 50 * number, np.uint8) for number in range(4)]
BLOCKS = [
    Block("Nearest neighbours", HOSTILE, [[Shown(PICTURES[n], HOSTILE, f"0.{n}") for n in (0, 1, 2)]]),
    Block(HOSTILE, "none", []),
    Block("Clusters", "", [[Shown(PICTURES[n], f"a/{n}.png", HOSTILE) for n in (1, 3)]] * 2),
]


def test_each_picture_stands_once_in_a_page_without_scripts(tmp_path: Path) -> None:
    search_page.write_page(tmp_path / "search.html", HOSTILE, [HOSTILE], BLOCKS)
    text = (tmp_path / "search.html").read_text()
    assert text.count("url(data:image/jpeg") == text.count("url(") == 4
    reader = read(tmp_path / "search.html")
    assert not {"img", "script", "link"} & set(reader.tags)
    assert reader.tags.count("figure") == 7
    assert reader.attributes.count(("title", HOSTILE)) == 3
    # title, h1, paragraph, a block's note, a block's heading, and what is said of four pictures
    assert reader.texts.count(HOSTILE) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["search.html"]


def test_the_sheet_has_a_row_of_pictures_a_row() -> None:
    sheet = np.asarray(Image.open(io.BytesIO(search_page.contact_sheet(BLOCKS))))
    step, row, line = search_page.SIDE + GAP, search_page.SIDE + search_page.LINE + GAP, search_page.LINE
    middle = search_page.SIDE // 2
    first = GAP + line + GAP + middle
    for column, value in enumerate([0, 50, 100]):
        np.testing.assert_allclose(sheet[first, GAP + column * step + middle], value, atol=2)
    for number in (0, 1):  # below a row, two headings, and what stands above the rows of each block
        top = first + row + 4 * line + number * row
        np.testing.assert_allclose(sheet[top, GAP + middle], 50, atol=2)
        np.testing.assert_allclose(sheet[top, GAP + step + middle], 150, atol=2)
