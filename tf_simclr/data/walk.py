"""What lies in the folders of a data set, told by the names alone and listed once."""

from __future__ import annotations

import dataclasses
import os
import posixpath

import tensorflow as tf

from tf_simclr.data import pillow_decoding
from tf_simclr.errors import UsageError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "bmp", *pillow_decoding.EXTENSIONS)


@dataclasses.dataclass(frozen=True)
class Listing:
    """Sorted names in one folder: of folders, of images, of other files; and how many begin with a dot.

    `again` are links to folders that are listed elsewhere, `unreadable` names that are no UTF-8.
    """

    folders: list[str]
    images: list[str]
    others: list[str]
    hidden: int
    again: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)


class Walk:
    """The folders below `root` (any path that tf.io.gfile opens), each listed when first asked for.

    Of a local folder no image counts twice because a link leads to its own folder, or to one around it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: dict[str, Listing] = {}
        self._linked: dict[str, str] = {}  # where links lead to, and the first one that does

    def __call__(self, folder: str) -> Listing:
        """What lies in a folder below the root, which is the empty name itself."""
        folder = folder.rstrip("/")
        if folder not in self.seen:
            path = posixpath.join(self.root, folder)
            found = _listing(path)
            again = [] if "://" in path else [name for name in found.folders if self._is_again(folder, name)]
            folders = [name for name in found.folders if name not in again]
            self.seen[folder] = dataclasses.replace(found, folders=folders, again=again)
        return self.seen[folder]

    def _is_again(self, folder: str, name: str) -> bool:
        """Whether a folder is a link to one that is listed elsewhere, or that all of this lies in."""
        path = posixpath.join(self.root, folder, name)
        if not os.path.islink(path):
            return False
        root, real = os.path.realpath(self.root), os.path.realpath(path)
        if os.path.commonpath([root, real]) == real:
            return True
        if os.path.commonpath([root, real]) == root:
            return not any(part.startswith(".") for part in os.path.relpath(real, root).split(os.sep))
        return self._linked.setdefault(real, path) != path


def extension(name: str) -> str:
    """In lower case, without the dot; empty where a name has none."""
    return posixpath.splitext(name)[1][1:].lower()


def _listing(path: str) -> Listing:
    """Takes a name with an image's extension for an image unseen: asking about each is slow on GCS."""
    try:
        listed = tf.io.gfile.listdir(path) if "://" in path else os.listdir(path)
    except OSError as error:
        raise UsageError(f"{path}: the folder cannot be listed ({error.strerror})") from error
    everything = sorted(name.rstrip("/") for name in listed)
    unreadable = [name for name in everything if not _is_utf8(name)]
    names = [name for name in everything if not name.startswith(".") and name not in set(unreadable)]
    images = [name for name in names if extension(name) in IMAGE_EXTENSIONS]
    rest = sorted(set(names) - set(images))
    folders = [name for name in rest if tf.io.gfile.isdir(posixpath.join(path, name))]
    others = sorted(set(rest) - set(folders))
    hidden = len(everything) - len(names) - len(unreadable)
    return Listing(folders, images, others, hidden, unreadable=unreadable)


def _is_utf8(name: str) -> bool:
    """Python gives other bytes as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
