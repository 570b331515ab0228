"""`python -m tf_simclr.shrink`: a folder of images written once more, no larger than training needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epath, epy

from tf_simclr import cli, files
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    from tf_simclr import inputs, training
    from tf_simclr.data import shrinking

COMMAND = Command(
    "shrink",
    "write a folder of images once more, shrunk to what views of --image_size need; --dataset opens it again",
    "data shrinking".split(),
    {},
)


def shrink(config: Config) -> shrinking.Written | None:
    """Writes --output_dir; None where it is there already. All splits, whatever --eval_split says."""
    root, folder = _places(config)
    config = config.replace(holdout=0.0, eval_split="", cache_dataset=False, cache_dir="")
    files.require_writable(f"--output_dir={folder}", epath.Path(folder.parent))
    sources = inputs.every_split(config)
    settings = _settings(config, {source.split: source.version for source in sources})
    if shrinking.is_whole(folder, settings):
        print(f"shrink: {folder} is whole already")
        return None
    count = sum(source.num_examples for source in sources)
    print(f"shrink: {root}, {count:,} images, for views of {config.data.image_size} px", flush=True)
    training.print_census(*sources)
    data, quality = config.data, config.shrinking.jpeg_quality
    written = shrinking.write(sources, root, folder, settings, data.image_size, quality, data.labels)
    training.print_bad_images(*sources)
    print(_summary(written, folder))
    return written


def _places(config: Config) -> tuple[str, Path]:
    """The folder of images, and the one to write.

    Raises:
        UsageError: either is not given, or not what can be read or written here.
    """
    config.require_dataset()
    kind, _, root = config.data.dataset.partition("folder:")
    output = config.shrinking.output_dir
    if kind or not root:
        raise UsageError(f"--dataset={config.data.dataset}: shrink takes folders of images, as folder:PATH")
    if not output:
        raise UsageError("--output_dir is required: the folder to write, such as photographs_224")
    if "://" in output:
        raise UsageError(
            f"--output_dir={output}: give a folder on this machine, and copy it when it is whole"
        )
    folder = Path(os.path.abspath(output))
    if Path(os.path.abspath(root)) in (folder, *folder.parents):
        raise UsageError(f"--output_dir={output} lies in --dataset; give a folder beside it")
    return root, folder


def _settings(config: Config, versions: dict[str, str]) -> dict[str, Any]:
    """All that the files depend on."""
    data = config.data
    return {
        "dataset": data.dataset,
        "labels": data.labels,
        "versions": versions,
        "image_size": str(data.image_size),
        "channels": data.channels,
        "exif": data.exif,
        "jpeg_quality": config.shrinking.jpeg_quality,
    }


def _summary(written: shrinking.Written, folder: Path) -> str:
    share = written.bytes_after / max(written.bytes_before, 1)
    return (
        f"shrink: {written.images:,} images, {written.shrunk:,} of them shrunk now; "
        f"{written.bytes_before / 1e6:,.1f} MB became {written.bytes_after / 1e6:,.1f} ({share:.0%}); "
        f"--dataset=folder:{folder}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, shrink, arguments)


if __name__ == "__main__":
    sys.exit(main())
