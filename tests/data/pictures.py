"""Image files made by Pillow, and by hand where Pillow writes no such thing."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tf_simclr.data.records import MemorySource

ORIENTATION = 0x0112
LOSSLESS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}  # as far as it goes


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth, so that JPEG keeps it closely, and without symmetry."""
    rows, columns = np.mgrid[:height, :width]
    shift = np.random.default_rng(seed).integers(0, 60, 3)
    waves = [rows * 150 / height, columns * 150 / width, (rows + 2 * columns) * 60 / (height + width)]
    return (np.stack(waves, axis=-1) + shift).astype(np.uint8)


def encoded(image: np.ndarray | Image.Image, file_format: str, orientation: int = 0, **options: Any) -> bytes:
    """A file of the pixels; with an orientation its EXIF block says that they are stored so."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"].update({0x010F: "maker", ORIENTATION: orientation})
    buffer = io.BytesIO()
    image.save(buffer, file_format, **{**LOSSLESS.get(file_format, {}), **options})
    return buffer.getvalue()


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What Pillow makes upright of pixels that are stored in an orientation."""
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that an orientation turns into `upright`."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return turned(upright, inverse)


def write(folder: Path, files: dict[str, bytes]) -> str:
    """Writes the files and returns what --dataset says of the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return f"folder:{folder}"


def grey_tiff(
    values: bytes, width: int, height: int, bits: int, kind: int = 1, photometric: int = 1
) -> bytes:
    """A little-endian TIFF of one strip of unsigned (kind 1), signed (2) or float (3) samples (TIFF 6.0)."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(values), 339: kind}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(values))
        + values
        + struct.pack("<H", len(tags))
        + directory
        + bytes(4)
    )


def images_of_several_sizes() -> MemorySource:
    """Noise, of which no two images have one shape; labels are their places."""
    sizes = [(12, 12), (9, 17), (23, 5), (1, 8), (16, 16), (40, 31), (8, 8)]
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(len(sizes))]
    images = [rng.integers(0, 256, [*size, 3]).astype(np.uint8) for size in sizes]
    files = [encoded(image, "PNG") for image in images]
    return MemorySource("toy", "train", "1", names, images=files, labels=range(len(sizes)), ids=names)
