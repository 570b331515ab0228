"""One bad image of every kind."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from tests.data.pictures import encoded, picture

PNG, JPEG = encoded(picture(12, 12), "PNG"), encoded(picture(40, 40), "JPEG")
_SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'


def png_bomb(side: int) -> bytes:
    """A grey PNG of one bit a pixel, all black: small, and side * side pixels when decoded."""
    row = bytes(1 + side // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_bomb(side: int) -> bytes:
    """A JPEG whose header says side * side pixels."""
    start = JPEG.index(b"\xff\xc0")
    return JPEG[: start + 5] + struct.pack(">HH", side, side) + JPEG[start + 9 :]


def broken_crc() -> bytes:
    place = PNG.index(b"IDAT") + 8
    return PNG[:place] + bytes([PNG[place] ^ 0xFF]) + PNG[place + 1 :]


BY_HEAD = {
    "empty.jpg": (b"", "empty"),
    "nuls.png": (bytes(500), "nothing but NULs"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "HTML, no image"),
    "drawing.png": (_SVG, "XML or an SVG, no image"),
    "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC, which has no decoder here"),
    "new.jpg": (b"\0\0\0\x1cftypavif" + bytes(100), "AVIF, which has no decoder here"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, no image"),
    "text.gif": (b"hello", "no image format that is known"),
    "bomb.png": (png_bomb(20_000), "20,000 x 20,000 pixels, more than --max_image_pixels=178,956,970"),
}
WHEN_DRAWN = {
    "half.jpg": (JPEG[: len(JPEG) // 2], "JPEG that is cut short"),
    "nearly.jpg": (JPEG[:-2], "JPEG that is cut short"),
    "cut.png": (PNG[:-40], "damaged PNG"),
    "crc.png": (broken_crc(), "damaged PNG"),
    "bomb.jpg": (jpeg_bomb(20_000), "20,000 x 20,000 pixels, more than --max_image_pixels=178,956,970"),
}
"""Name: content, and the reason or its beginning."""
LINKS = {
    "folder.jpg": "a folder",
    "dangling.jpg": "a link that leads nowhere",
    "circle.jpg": "a link that leads in a circle",
    "memory.png": "cannot be read: Input/output error",
    "pipe.jpg": "no regular file",
    "latin\\xe9.jpg": "its name is no UTF-8",
}
"""What is no file of bytes."""


def write_bad(folder: Path) -> dict[str, str]:
    """Writes all of them, and a link of the folder to the one around it; name: reason."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in {**BY_HEAD, **WHEN_DRAWN}.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "memory.png").symlink_to("/proc/self/mem")
    os.mkfifo(folder / "pipe.jpg")
    (Path(os.fsdecode(os.fsencode(folder) + b"/latin\xe9.jpg"))).write_bytes(PNG)
    (folder / "._apple.jpg").write_bytes(b"\0\x05\x16\x07")
    (folder / "up").symlink_to("..")
    return {name: reason for name, (_, reason) in {**BY_HEAD, **WHEN_DRAWN}.items()} | LINKS
