"""`python -m tf_simclr.record`: an environment's frames and states, as a folder of images."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epath, epy

from tf_simclr import cli, files
from tf_simclr.config import Config, groups
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    from PIL import Image

    from tf_simclr.control import environments, recording

COMMAND = Command(
    "record",
    "play episodes of random policies in an environment and write its frames, three to an image",
    ["recording"],
    {},
)
SPLITS = ("train", "test")


def record(config: Config) -> dict[str, int]:
    """Writes --frames_dir, whole or not at all, and returns how many images each split has.

    SPLIT/EPISODE_STEP.png hold a frame in each colour, the newest in blue; states.csv a row an image: `file`,
    `episode`, `step` and the state of the newest frame; recording.json how it was made.
    """
    wanted = config.recording
    if not wanted.frames_dir:
        raise UsageError("--frames_dir is required: the folder to write, as frames/cartpole")
    if not wanted.environment:
        raise UsageError("--environment is required: gymnasium's name, as CartPole-v1")
    counts = _record(Path(wanted.frames_dir), wanted)
    said = ", ".join(f"{count:,} images in {split}" for split, count in counts.items())
    print(f"record: {wanted.environment}: {said}; --dataset=folder:{wanted.frames_dir}")
    return counts


def _record(folder: Path, wanted: groups.Recording) -> dict[str, int]:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--frames_dir={folder}: is not empty; give another folder, or delete it")
    whole = folder.resolve()
    files.require_writable(f"--frames_dir={folder}", epath.Path(whole.parent))
    episodes = recording.Episodes(
        environments.make(wanted.environment),
        wanted.episode_steps,
        wanted.frame_size,
        wanted.random_actions,
        wanted.start_spread,
        wanted.recording_seed,
    )
    partial = whole.with_name(f".{whole.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        counts = _write(partial, episodes, wanted)
        partial.replace(whole)  # in place of an empty folder, too
        return counts
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, episodes: recording.Episodes, wanted: groups.Recording) -> dict[str, int]:
    counts = {}
    folder.mkdir(parents=True)
    with (folder / "states.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "episode", "step", *environments.state_names(episodes.environment)])
        for split, count in zip(SPLITS, (wanted.train_episodes, wanted.test_episodes), strict=True):
            written = list(_images(folder, episodes, split, count))
            rows.writerows(written)
            counts[split] = len(written)
    (folder / "recording.json").write_text(json.dumps(dataclasses.asdict(wanted) | counts, indent=2) + "\n")
    return counts


def _images(folder: Path, episodes: recording.Episodes, split: str, count: int) -> Iterator[list[Any]]:
    """Writes the images of a split; yields their rows of states.csv."""
    (folder / split).mkdir()
    for episode in range(count):
        for moment in episodes.play(SPLITS.index(split), episode):
            name = f"{split}/{episode:05d}_{moment.step:05d}.png"
            Image.fromarray(moment.stack).save(folder / name)
            yield [name, f"{split}_{episode}", moment.step, *moment.state.tolist()]


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, record, arguments)


if __name__ == "__main__":
    sys.exit(main())
