"""What a folder of images holds, and what of it is left out and why: from the walk that opened it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tf_simclr.data.walk import Listing, Walk, extension

_TYPES = {"jpg": "jpeg", "tif": "tiff"}  # two extensions, one type
_NO_DECODER = frozenset(
    "heic heif avif jxl jp2 svg psd xcf exr hdr ico tga ppm pgm dng cr2 cr3 nef arw orf rw2 raf".split()
)
_SHOWN = 6  # class names in a line
_EXAMPLES = 3  # names of what was left out


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """One reason: how many, of what, and the first few names."""

    count: int
    what: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = ", ".join(self.examples) + (", ..." if self.count > len(self.examples) else "")
        return f"{self.count:,} {self.what}" + (f" ({names})" if self.examples else "")


@dataclasses.dataclass(frozen=True)
class Census:
    """Of one split.

    Attributes:
      images: how many of each type, the most frequent first.
      classes_from: "folders", or the CSV; empty without classes.
      class_names: theirs.
      left_out: a reason each.
      notes: what is used otherwise than somebody may have meant.
    """

    images: Mapping[str, int]
    classes_from: str
    class_names: Sequence[str]
    left_out: Sequence[LeftOut]
    notes: Sequence[str] = ()

    def lines(self, split: str) -> Iterator[str]:
        """What a plan says: a line, and more where something was left out or may surprise."""
        held = ", ".join(f"{count:,} {kind}" for kind, count in self.images.items())
        names = ", ".join(self.class_names[:_SHOWN]) + (", ..." if len(self.class_names) > _SHOWN else "")
        yield f"{split} holds {held}" + (
            f"; classes from {self.classes_from}: {names}" if self.classes_from else ""
        )
        if self.left_out:
            yield f"{split} leaves out {self.says_left_out}"
        yield from self.notes

    @property
    def says_left_out(self) -> str:
        return "; ".join(map(str, self.left_out))

    def to_tree(self) -> dict[str, Any]:
        """As data.json has it."""
        return {
            "images": dict(self.images),
            "classes_from": self.classes_from,
            "left_out": [dataclasses.asdict(reason) for reason in self.left_out],
            "notes": list(self.notes),
        }


def take(
    walk: Walk,
    tops: Sequence[str],
    files: Sequence[str],
    class_names: Sequence[str],
    labels_csv: str = "",
    listed: Collection[str] = (),
    notes: Sequence[str] = (),
) -> Census:
    """The census of the splits whose folders are `tops`.

    Args:
      walk: that found the files.
      tops: with a slash behind; the empty name is the whole folder.
      files: the images that are used, as paths below the walk's root.
      listed: all that the CSV `labels_csv` names.
    """
    found = Counter(_type(name) for name in files)
    source = (labels_csv or "folders") if class_names else ""
    folders = {name: one for name, one in walk.seen.items() if _is_below(name, tops)}
    reasons = [*_without_row(folders, labels_csv, listed), *_files(folders), *_folders(walk, tops)]
    left_out = [reason for reason in reasons if reason.count]
    images = dict(sorted(found.items(), key=lambda row: (-row[1], row[0])))
    return Census(images, source, class_names, left_out, notes)


def _type(name: str) -> str:
    return _TYPES.get(extension(name), extension(name))


def _is_below(folder: str, tops: Sequence[str]) -> bool:
    return not folder or any(f"{folder}/".startswith(top) for top in tops)


def _without_row(
    folders: Mapping[str, Listing], labels_csv: str, listed: Collection[str]
) -> Iterator[LeftOut]:
    if labels_csv:
        images = [name for folder, one in folders.items() for name in _paths(folder, one.images)]
        missing = [name for name in images if name not in listed]
        yield _some(missing, f"without a row in {labels_csv}")


def _files(folders: Mapping[str, Listing]) -> Iterator[LeftOut]:
    others = [name for folder, one in folders.items() for name in _paths(folder, one.others)]
    closed = Counter(_type(name) for name in others if extension(name) in _NO_DECODER)
    for kind, count in closed.most_common():
        yield LeftOut(count, f".{kind} (no decoder)")
    plain = [name for name in others if extension(name) not in _NO_DECODER]
    yield _some(plain, "without an image's extension")
    yield LeftOut(sum(one.hidden for one in folders.values()), "hidden")


def _folders(walk: Walk, tops: Sequence[str]) -> Iterator[LeftOut]:
    """Class folders that hold no image, and folders two levels below a class, which nobody looks into."""
    empty, deep = [], []
    for top in tops:
        for name in walk(top).folders:
            inner = [f"{top}{name}/{below}" for below in walk(top + name).folders]
            if not walk(top + name).images and not any(walk(folder).images for folder in inner):
                empty.append(top + name)
            deep += [name for folder in inner for name in _paths(folder, walk(folder).folders)]
    yield _some(empty, _plural(empty, "folder") + " without an image")
    yield _some(deep, _plural(deep, "folder") + " more than one level below a class")


def _paths(folder: str, names: Sequence[str]) -> list[str]:
    return [f"{folder}/{name}" if folder else name for name in names]


def _plural(names: Sequence[str], word: str) -> str:
    return word if len(names) == 1 else f"{word}s"


def _some(names: Sequence[str], what: str) -> LeftOut:
    return LeftOut(len(names), what, tuple(names[:_EXAMPLES]))
