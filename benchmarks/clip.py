"""Zero-shot classes of words that never stood together: digits in colours, some pairs of which are held out.

python -m benchmarks.clip --output=runs/clip --results=results/clip

Every handwritten digit of scikit-learn is dyed in each of six colours but one, by its class: a red zero, a
green one and so on are in no training image and no caption. flags/digits/clip_colors.cfg trains from each;
zero_shot chooses among all 60 pairs, on the test digits in the pairs that were trained on (split
validation) and in those that were not (test). A run that is finished is not run again.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

# isort: split
import tensorflow as tf

from tf_simclr.data import digits

OUTPUT = flags.DEFINE_string("output", "runs/clip", "folder of the images and the runs")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the pretraining")
RESULTS = flags.DEFINE_string("results", "", "folder for a small JSON file a seed")
FLAGS = flags.DEFINE_list("flags", [], "further flags of the pretraining, without their dashes")

DIGITS = "zero one two three four five six seven eight nine".split()
COLORS = {
    "red": [255, 0, 0],
    "green": [0, 255, 0],
    "blue": [0, 0, 255],
    "yellow": [255, 255, 0],
    "purple": [255, 0, 255],
    "white": [255, 255, 255],
}
CAPTION = "a {} {}"
SPLITS = {"seen pairs": "validation", "held-out pairs": "test"}


def held_out(digit: int, color: int) -> bool:
    return digit % len(COLORS) == color


def make_images(folder: Path) -> None:
    """folder/SPLIT/COLOR DIGIT/ID.png, and captions.csv beside it; nothing where that is there."""
    if (folder.parent / "captions.csv").exists():
        return
    rows = [(file, text) for split in ("train", "test") for file, text in _dyed(folder, split)]
    with (folder.parent / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *rows])


def _dyed(folder: Path, split: str) -> list[tuple[str, str]]:
    """Writes a split's digits in their colours; (file, caption) of those to train on."""
    rows: list[tuple[str, str]] = []
    for record in digits.open_digits(split).records().as_numpy_iterator():
        grey = tf.io.decode_png(record["image"]).numpy() / 255  # [8, 8, 1]
        digit = int(record["label"])
        for number, (color, rgb) in enumerate(COLORS.items()):
            apart = held_out(digit, number)
            if split == "train" and apart:
                continue
            part = "train" if split == "train" else "test" if apart else "validation"
            file = folder / part / f"{color} {DIGITS[digit]}" / f"{record['id'].decode()}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tf.io.encode_png(np.round(grey * rgb).astype(np.uint8)).numpy())
            if split == "train":
                name = str(file.relative_to(folder))
                rows.append((name, CAPTION.format(color, DIGITS[digit])))
    return rows


def learned(folder: Path, seed: str) -> dict[str, Any]:
    """Accuracies of one run, percent."""
    run, images = folder / f"seed{seed}", folder / "images"
    own = [f"--dataset=folder:{images}", f"--captions={folder / 'captions.csv'}", f"--seed={seed}"]
    trained = command(
        "pretrain", run, ["--flagfile=flags/digits/clip_colors.cfg", *own, *(f"--{f}" for f in FLAGS.value)]
    )
    found: dict[str, Any] = {"seed": int(seed), "steps": trained["steps"]}
    for title, split in SPLITS.items():
        out = run / f"zero_shot_{split}"
        prompts = f"--prompts={CAPTION.format('{}', '').strip()}"
        result = command("zero_shot", out, [f"--checkpoint={run}", f"--eval_split={split}", prompts])
        found[title] = {
            name: round(result[name], 2) for name in ("num_eval_examples", "top1", "chance", "mean_per_class")
        }
        found[title] |= by_word(out)
    return found


def by_word(run: Path) -> dict[str, float]:
    """Percent right of the color alone, of the digit alone, and of the pair among the split's own."""
    names = json.loads((run / "data.json").read_text())["class_names"]
    with np.load(run / "predictions.npz") as stored:
        labels, probabilities = stored["label"], stored["probabilities"]
        pairs = [[names[c].split() for c in stored[kind]] for kind in ("prediction", "label")]
    color, digit = np.mean(np.array(pairs[0]) == np.array(pairs[1]), axis=0)
    own = np.unique(labels)
    alone = np.mean(own[probabilities[:, own].argmax(axis=1)] == labels)
    shares = {"color": color, "digit": digit, "among the split's pairs": alone}
    return {name: round(100 * float(share), 2) for name, share in shares.items()}


def command(name: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """result.json of a command, which is run where that is not there yet."""
    result = folder / "result.json"
    if not result.exists():
        words = [sys.executable, "-m", f"tf_simclr.{name}", *arguments, f"--model_dir={folder}"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return json.loads(result.read_text())


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    folder = Path(OUTPUT.value)
    make_images(folder / "images")
    for seed in SEEDS.value:
        found = learned(folder, seed)
        print(json.dumps(found), flush=True)
        if RESULTS.value:
            path = Path(RESULTS.value) / f"colors_seed{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
