"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import struct

MAX_PIXELS = 178_956_970  # where Pillow refuses: half a gigabyte of RGB
BYTES = 64  # of a file that are looked at
_DECODED = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHERS = {
    b"<svg": "an SVG",
    b"<?xml": "XML or an SVG",
    b"<": "HTML",
    b"version https://git-lfs": "a Git LFS pointer",
}
_BRANDS = {"avif": "AVIF", "avis": "AVIF"}  # of ISO/IEC 14496-12 files; all others that are images: HEIC


def kind(head: bytes) -> str:
    """The format, one that some decoder here takes; empty where it is none of these."""
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else ""
    return next((name for magic, name in _DECODED.items() if head.startswith(magic)), "")


def refusal(head: bytes, max_pixels: int) -> str:
    """Why a file of these first bytes is no image to train on; empty where they are those of one."""
    if not head:
        return "empty"
    found = kind(head)
    if found:
        return too_large(*sides(head), max_pixels)
    if not head.strip(b"\0"):
        return "nothing but NULs"
    if head[4:8] == b"ftyp":
        brand = head[8:12].decode("latin-1")
        return f"{_BRANDS.get(brand, 'HEIC')}, which has no decoder here"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    other = next((name for begin, name in _OTHERS.items() if text.startswith(begin)), "")
    return f"{other}, no image" if other else "no image format that is known"


def too_large(height: int, width: int, max_pixels: int) -> str:
    """Why an image of this size is not decoded; empty where it is."""
    if height * width <= max_pixels:
        return ""
    return f"{height:,} x {width:,} pixels, more than --max_image_pixels={max_pixels:,}"


def sides(head: bytes) -> tuple[int, int]:
    """Height and width where the first bytes say them: of PNG, GIF and BMP; else zeros."""
    found = kind(head)
    try:
        if found == "PNG":
            width, height = struct.unpack(">II", head[16:24])
        elif found == "GIF":
            width, height = struct.unpack("<HH", head[6:10])
        elif found == "BMP":
            width, height = struct.unpack("<ii", head[18:26])
        else:
            return 0, 0
    except struct.error:  # cut within them
        return 0, 0
    return abs(height), abs(width)
