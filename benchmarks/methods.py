"""Pretraining methods side by side on the embedded digits: what they learn and what a step of each costs.

python -m benchmarks.methods --output=runs/methods

Every method trains the encoder of flags/digits/pretrain.cfg by its own flags/digits/pretrain_NAME.cfg, for
the same epochs, from each seed; then come logistic regression on frozen h (2 labels a class, and all) and
k-NN. A run that is finished is not run again. Last the train steps of all methods take turns in one process,
and `doctor --sizes` reckons the memory of each.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.contest import Claim, Contest, publish, take_turns

# isort: split
import tensorflow as tf

from tf_simclr import inputs, methods, pretrain
from tf_simclr.checks import sizes
from tf_simclr.config import Config
from tf_simclr.config import flags as flags_lib
from tf_simclr.reports import markdown
from tf_simclr.runs import build

OUTPUT = flags.DEFINE_string("output", "runs/methods", "folder of the runs")
METHODS = flags.DEFINE_list("methods", [], "methods; empty: all that have a flagfile")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the pretraining")
EPOCHS = flags.DEFINE_integer("epochs", 60, "epochs of every pretraining", lower_bound=1)
RESULTS = flags.DEFINE_string("results", "", "file to add the figures of finished runs to, as JSON")

STEPS = 5  # a turn
DIGITS = Path("flags/digits")
FIGURES = {
    "linear, 2 labels a class": ("mean_and_std", "pretrained, 2"),
    "untrained, 2 labels a class": ("mean_and_std", "untrained, 2"),
    "linear, all labels": ("mean_and_std", "pretrained, all"),
}


def flagfile(method: str) -> Path:
    return DIGITS / ("pretrain.cfg" if method == methods.DEFAULT else f"pretrain_{method}.cfg")


def learned(method: str, seed: str) -> dict[str, float]:
    """Accuracies of one run, percent; what is finished is read."""
    run = Path(OUTPUT.value) / f"{method}_seed{seed}"
    common = [f"--seed={seed}"]
    length = [f"--train_epochs={EPOCHS.value}", f"--checkpoint_epochs={EPOCHS.value}"]
    command("pretrain", run, [f"--flagfile={flagfile(method)}", *length, *common])
    few = [f"--flagfile={DIGITS / 'label_efficiency.cfg'}", "--draws_labels_per_class=2,all"]
    source = [f"--checkpoint={run}"]
    labels = command(
        "label_efficiency", run / "label_efficiency", [*few, "--num_scratch_draws=0", *source, *common]
    )
    nearest = command("knn", run / "knn", source)
    found = {title: labels[group][row][0] for title, (group, row) in FIGURES.items()}
    return {**found, "k-NN": nearest["top1"]}


def command(name: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """result.json of a command, which is run where that is not there yet."""
    result = folder / "result.json"
    if not result.exists():
        words = [sys.executable, "-m", f"tf_simclr.{name}", *arguments, f"--model_dir={folder}"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads(result.read_text())


def planned(method: str) -> Config:
    return flags_lib.parse(pretrain.COMMAND, [f"--flagfile={flagfile(method)}", "--model_dir=x"])[1]


def step_of(method: str) -> Callable[[], None]:
    """A turn of train steps on one batch."""
    config = planned(method)
    source = inputs.train_source(config)
    steps, images = config.steps(source.num_examples), source.num_examples
    model = build.pretraining(config, source.num_classes, steps, images)
    batch = next(iter(inputs.pretraining_batches(config, source, model.augmentations.num_uniforms)(0)))
    config.method.between_epochs(model, lambda: inputs.evaluation_batches(config.data, source), 0)
    step = tf.function(model.train_step)

    def turn() -> None:
        for _ in range(STEPS):
            figures = step(batch)
        next(iter(figures.values())).numpy()

    turn()
    return turn


def contest(names: list[str]) -> Contest:
    """Train steps of all methods in turns."""
    seconds = take_turns({name: step_of(name) for name in names})
    claims = [Claim(methods.DEFAULT, name) for name in names if name != methods.DEFAULT]
    return Contest("train steps on digits, by method", seconds, STEPS, "steps", claims)


def costs_of(names: list[str]) -> dict[str, dict[str, float]]:
    """Time of a step, measured, and memory of a step, by `doctor --sizes`, in units of SimCLR's."""
    steps = contest(names)
    memory = {name: sizes.of(planned(name), 1).memory for name in names}
    own = {
        name: {
            "time": steps.ratio(Claim(methods.DEFAULT, name)),
            "memory": memory[name] / memory[methods.DEFAULT],
        }
        for name in names
    }
    publish("methods", steps, memory=memory)
    return own


def table(found: dict[str, list[dict[str, float]]], costs: dict[str, dict[str, float]]) -> str:
    """Means and deviations over the seeds, and costs in units of SimCLR's, as Markdown."""
    titles = list(next(iter(found.values()))[0])
    rows = []
    for name, seeds in found.items():
        figures = [spread([one[title] for one in seeds]) for title in titles]
        rows.append([name, *figures, *(costs[name][what] for what in ("time", "memory"))])
    return "\n".join(markdown.table(["method", *titles, "time a step", "memory a step"], rows))


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def keep(found: dict[str, list[dict[str, float]]], costs: dict[str, dict[str, float]]) -> None:
    if RESULTS.value:
        path = Path(RESULTS.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"epochs": EPOCHS.value, "seeds": SEEDS.value, "methods": found, "costs": costs}
        path.write_text(json.dumps(content, indent=2) + "\n")


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    names = METHODS.value or [name for name in methods.names() if flagfile(name).exists()]
    names.sort(key=lambda name: (name != methods.DEFAULT, name))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed, name in itertools.product(SEEDS.value, names):
        found[name].append(learned(name, seed))
        print(f"{name}, seed {seed}: {found[name][-1]}", flush=True)
        keep({name: rows for name, rows in found.items() if rows}, {})
    costs = costs_of(names)
    keep(found, costs)
    print(f"\n{table(found, costs)}")


if __name__ == "__main__":
    app.run(main)
