"""A picture of some images and the views drawn from them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole

TILE = 112  # pixels of a tile's side
GAP = 6
LABEL_WIDTH = 68
TITLE_HEIGHT = 24
TEXT_SIZE = 14
BACKGROUND, INK = "#e9e9e9", "#333333"


def save_contact_sheet(
    originals: Sequence[np.ndarray],
    views: np.ndarray,
    path: str | Path,
    titles: Sequence[str] | None = None,
) -> None:
    """Writes a PNG with an image a column: the original on top, its views below.

    Args:
        originals: n images [h, w, 3 or 1], uint8 or float in [0, 1], of any sizes.
        views: [n, k, H, W, 3 or 1], uint8 or float in [0, 1]; view 1 of an image first.
        path: the file to write; it appears complete or not at all.
        titles: a text above each image, such as its class.

    Raises:
        UsageError: the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"--preview_views={path}: the folder {path.parent} does not exist; create it first.")
    columns = [[original, *pair] for original, pair in zip(originals, views, strict=True)]
    write_whole(path, small_png(_draw_sheet(columns, titles)))


def captioned_grid(
    images: Sequence[np.ndarray], above: Sequence[str], below: Sequence[str], across: int = 5
) -> bytes:
    """A PNG of images [h, w, 3], uint8 or float in [0, 1], `across` in a row, each between two texts."""
    width, height = TILE + GAP, TILE + 2 * TITLE_HEIGHT
    size = (GAP + min(len(images), across) * width, -(-len(images) // across) * height)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_SIZE)
    for number, image in enumerate(images):
        left, top = GAP + number % across * width, number // across * height
        sheet.paste(tile(image), (left, top + TITLE_HEIGHT))
        for text, middle in ((above[number], 0.5), (below[number], 1.5)):
            place = (left + TILE // 2, top + middle * TITLE_HEIGHT + (middle > 1) * TILE)
            draw.text(place, shortened(" ".join(text.split()), font), INK, font, anchor="mm")
    file = io.BytesIO()
    sheet.quantize(256).save(file, format="PNG", optimize=True)  # a byte a pixel at most
    return file.getvalue()


def _draw_sheet(columns: list[list[np.ndarray]], titles: Sequence[str] | None) -> Image.Image:
    top = TITLE_HEIGHT if titles else GAP
    step = TILE + GAP
    size = (LABEL_WIDTH + len(columns) * step, top + len(columns[0]) * step)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_SIZE)
    for row in range(len(columns[0])):
        label = f"view {row}" if row else "original"
        draw.text((GAP, top + row * step + TILE // 2), label, INK, font, anchor="lm")
    for column, images in enumerate(columns):
        left = LABEL_WIDTH + column * step
        for row, image in enumerate(images):
            sheet.paste(tile(image), (left, top + row * step))
        if titles:
            title = shortened(titles[column], font)
            draw.text((left + TILE // 2, TITLE_HEIGHT // 2), title, INK, font, anchor="mm")
    return sheet


def tile(image: np.ndarray, side: int = TILE) -> Image.Image:
    """The whole image, scaled to fit a square; small ones by whole factors, so that pixels stay square.

    `image` is [h, w, 3], uint8 or float in [0, 1].
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    image = image[..., 0] if image.shape[-1] == 1 else image
    longer = max(image.shape[:2])
    scale = side // longer if longer <= side else side / longer
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = Image.Resampling.NEAREST if longer <= side else Image.Resampling.LANCZOS
    square = Image.new("RGB", (side, side), BACKGROUND)
    square.paste(Image.fromarray(image).resize(size, method), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def shortened(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int = TILE) -> str:
    """The title, cut at its end where it is wider than `width` pixels."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(title + "…") > width:
        title = title[:-1]
    return title + "…"


def small_png(sheet: Image.Image) -> bytes:
    """The bytes of a PNG with 64 levels a colour: photographs hardly show it."""
    coarse = sheet.point(lambda level: min(255, (level + 2) // 4 * 4))  # 60% of the bytes
    file = io.BytesIO()
    coarse.save(file, format="PNG", optimize=True)
    return file.getvalue()
