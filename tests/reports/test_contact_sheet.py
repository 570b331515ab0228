"""The contact sheet shows every image and view, in one small file that is never half written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tf_simclr.errors import UsageError
from tf_simclr.reports.contact_sheet import GAP, LABEL_WIDTH, TILE, TITLE_HEIGHT, save_contact_sheet


def solid(*shape: int, value: int) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def centre(sheet: np.ndarray, row: int, column: int, top: int) -> list[int]:
    step = TILE + GAP
    return sheet[top + row * step + TILE // 2, LABEL_WIDTH + column * step + TILE // 2].tolist()


@pytest.mark.parametrize("titles", [None, ["one", "a class with a very long name indeed", ""]])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_every_image_and_view_has_its_place(tmp_path: Path, titles: list[str] | None, kind: type) -> None:
    originals = [solid(20, 30, 3, value=0), solid(500, 300, 3, value=60), solid(5, 5, 3, value=200)]
    views = np.stack([[solid(16, 16, 3, value=20 * (4 * i + k)) for k in range(4)] for i in range(3)])
    scale = 255.0 if kind is np.float32 else 1
    path = tmp_path / "views.png"
    save_contact_sheet(
        [(o / scale).astype(kind) for o in originals], (views / scale).astype(kind), path, titles
    )
    sheet = np.asarray(Image.open(path))
    top = TITLE_HEIGHT if titles else GAP
    for column in range(3):
        expected = [originals[column][0, 0, 0], *views[column, :, 0, 0, 0]]
        for row, value in enumerate(expected):
            np.testing.assert_allclose(centre(sheet, row, column, top), value, atol=2)
    assert list(tmp_path.iterdir()) == [path]


def test_photographs_make_a_small_file(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    files = sorted(shared("data/imagenet_sample/train").glob("*/*.JPEG"))[:8]
    originals = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    views = np.stack([[np.resize(original[:224, :224], [224, 224, 3])] * 2 for original in originals])
    save_contact_sheet(originals, views, tmp_path / "views.png")
    assert (tmp_path / "views.png").stat().st_size < 400_000


def test_missing_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--preview_views"):
        save_contact_sheet([], np.zeros([0, 2, 8, 8, 3]), tmp_path / "none" / "views.png")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "views.png"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_contact_sheet([solid(8, 8, 3, value=1)], np.zeros([1, 2, 8, 8, 3]), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
