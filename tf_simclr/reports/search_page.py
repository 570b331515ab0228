"""What a search found, as rows of small pictures: an HTML page and a contact sheet."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_simclr.files import write_whole
from tf_simclr.reports.contact_sheet import BACKGROUND, GAP, INK, shortened, small_png, tile
from tf_simclr.reports.page import document

SIDE = 84  # pixels of a picture on the contact sheet
LINE = 16  # pixels of a line of text there
JPEG_QUALITY = 80


class Shown(NamedTuple):
    """A picture, uint8 [h, w, 3], the image's name, and what is said of it below."""

    picture: np.ndarray
    name: str
    text: str


class Block(NamedTuple):
    """A heading, a sentence below it, and rows of pictures."""

    heading: str
    note: str
    rows: Sequence[Sequence[Shown]]


def write_page(
    path: str | os.PathLike[str], title: str, notes: Sequence[str], blocks: Sequence[Block]
) -> None:
    """Writes an HTML file that holds its pictures, each once, and refers to nothing but files beside it.

    Args:
      path: of the file; its folder exists.
      title: any text, as all texts here.
      notes: paragraphs above the blocks.
      blocks: in order.
    """
    shown = [one for block in blocks for row in block.rows for one in row]
    numbers = {id(one.picture): number for number, one in enumerate(shown)}
    pictures = {numbers[id(one.picture)]: one.picture for one in shown}
    rules = "\n".join(
        f".i{number} {{ background-image: url({_data(own)}) }}" for number, own in pictures.items()
    )
    body = "\n".join([*(f"<p>{html.escape(note)}</p>" for note in notes), *_sections(blocks, numbers)])
    write_whole(path, document(title, _STYLE + rules, body))


def _sections(blocks: Sequence[Block], numbers: dict[int, int]) -> Iterator[str]:
    for block in blocks:
        rows = "\n".join(
            f'<div class="row">{"".join(_figure(one, numbers[id(one.picture)]) for one in row)}</div>'
            for row in block.rows
        )
        heading, note = html.escape(block.heading), html.escape(block.note)
        yield f"<section>\n<h2>{heading}</h2>\n<p>{note}</p>\n{rows}\n</section>"


def _figure(one: Shown, number: int) -> str:
    name, end, text = map(html.escape, (one.name, one.name.rpartition("/")[2], one.text))
    small = " small" if max(one.picture.shape[:2]) <= 32 else ""
    picture = f'<div class="picture i{number}{small}" role="img" aria-label="{name}" title="{name}"></div>'
    return f"<figure>{picture}<figcaption><b>{text}</b>{end}</figcaption></figure>"


def _data(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def contact_sheet(blocks: Sequence[Block]) -> bytes:
    """The blocks below each other, as a PNG."""
    step, row_height = SIDE + GAP, SIDE + LINE + GAP
    columns = max((len(row) for block in blocks for row in block.rows), default=1)
    heights = [2 * LINE + len(block.rows) * row_height for block in blocks]
    sheet = Image.new("RGB", (max(columns * step, 6 * step) + GAP, sum(heights) + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 4)
    top = GAP
    for block, height in zip(blocks, heights, strict=True):
        heading = shortened(f"{block.heading}: {block.note}", font, sheet.width - 2 * GAP)
        draw.text((GAP, top), heading, INK, font)
        for number, row in enumerate(block.rows):
            place = top + LINE + GAP + number * row_height
            for column, one in enumerate(row):
                left = GAP + column * step
                sheet.paste(tile(one.picture, SIDE), (left, place))
                draw.text((left, place + SIDE), shortened(one.text, font, SIDE), INK, font)
        top += height
    return small_png(sheet)


_STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --quiet: #59636e; --page: #fff; --line: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --quiet: #9198a1; --page: #0d1117; --line: #3d444d; }
}
body { color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif; max-width: 75rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
.row { display: flex; gap: .6rem; overflow-x: auto; padding: .3rem 0; }
figure { margin: 0; flex: none; width: 7rem; }
.picture { height: 7rem; background: center / contain no-repeat; }
.small { image-rendering: pixelated; }
figcaption { font-size: .75rem; line-height: 1.3; color: var(--quiet); overflow: hidden; white-space: nowrap;
  text-overflow: ellipsis; }
figcaption b { display: block; min-height: 1.3em; color: var(--text); font-weight: 600; overflow: hidden;
  text-overflow: ellipsis; }
"""
