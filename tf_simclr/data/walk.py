"""What lies in the folders of a data set, told by the names alone and listed once."""

from __future__ import annotations

import dataclasses
import posixpath

import tensorflow as tf

from tf_simclr.data import pillow_decoding

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "bmp", *pillow_decoding.EXTENSIONS)


@dataclasses.dataclass(frozen=True)
class Listing:
    """Sorted names in one folder: of folders, of images, of other files; and how many begin with a dot."""

    folders: list[str]
    images: list[str]
    others: list[str]
    hidden: int


class Walk:
    """The folders below `root` (any path that tf.io.gfile opens), each listed when first asked for."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: dict[str, Listing] = {}

    def __call__(self, folder: str) -> Listing:
        """What lies in a folder below the root, which is the empty name itself."""
        folder = folder.rstrip("/")
        if folder not in self.seen:
            self.seen[folder] = _listing(posixpath.join(self.root, folder))
        return self.seen[folder]


def extension(name: str) -> str:
    """In lower case, without the dot; empty where a name has none."""
    return posixpath.splitext(name)[1][1:].lower()


def _listing(path: str) -> Listing:
    """Takes a name with an image's extension for an image unseen: asking about each is slow on GCS."""
    everything = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(path))
    names = [name for name in everything if not name.startswith(".")]
    images = [name for name in names if extension(name) in IMAGE_EXTENSIONS]
    rest = sorted(set(names) - set(images))
    folders = [name for name in rest if tf.io.gfile.isdir(posixpath.join(path, name))]
    others = sorted(set(rest) - set(folders))
    return Listing(folders, images, others, len(everything) - len(names))
