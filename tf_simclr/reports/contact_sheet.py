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
    write_whole(path, _png(_draw_sheet(columns, titles)))


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
            sheet.paste(_tile(image), (left, top + row * step))
        if titles:
            title = _shortened(titles[column], font)
            draw.text((left + TILE // 2, TITLE_HEIGHT // 2), title, INK, font, anchor="mm")
    return sheet


def _tile(image: np.ndarray) -> Image.Image:
    """The whole image, scaled to fit a square; small ones by whole factors, so that pixels stay square."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    image = image[..., 0] if image.shape[-1] == 1 else image
    longer = max(image.shape[:2])
    scale = TILE // longer if longer <= TILE else TILE / longer
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = Image.Resampling.NEAREST if longer <= TILE else Image.Resampling.LANCZOS
    tile = Image.new("RGB", (TILE, TILE), BACKGROUND)
    tile.paste(Image.fromarray(image).resize(size, method), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _shortened(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(title) <= TILE:
        return title
    while title and font.getlength(title + "…") > TILE:
        title = title[:-1]
    return title + "…"


def _png(sheet: Image.Image) -> bytes:
    coarse = sheet.point(lambda level: min(255, (level + 2) // 4 * 4))  # 64 levels: 60% of the bytes
    file = io.BytesIO()
    coarse.save(file, format="PNG", optimize=True)
    return file.getvalue()
