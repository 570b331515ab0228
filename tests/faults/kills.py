"""Random SIGKILLs over the real commands, against runs that nobody disturbed.

python -m tests.faults.kills --kills=100 --kills_output=runs/kills

Each command runs once undisturbed. Then it is started, killed and started again with the same arguments, half
of the kills at a random time, half while a file is being saved; when it comes to its end, weights, optimizer
slots, tables and exported files are compared bit by bit, and it begins anew in another folder.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

# isort: split
import tensorflow as tf

KILLS = flags.DEFINE_integer("kills", 100, "SIGKILLs over all commands", lower_bound=1)
OUTPUT = flags.DEFINE_string("kills_output", "runs/kills", "folder of the runs; what is in it goes")
SEED = flags.DEFINE_integer("kills_seed", 0, "of the times of the kills")

ROOT = Path(__file__).resolve().parents[2]
STEPS = {"steps": 400, "between": 9}
MODEL = (
    "--dataset=digits --image_size=8 --resnet_depth=18 --width_multiplier=0.125 --use_flip=false "
    "--train_batch_size=64 --warmup_epochs=0 --proj_out_dim=8 "
    f"--train_steps={STEPS['steps']} --checkpoint_steps={STEPS['between']} --keep_checkpoint_max=3"
).split()
SHARES = {"pretrain": 0.4, "linear_eval": 0.2, "finetune": 0.2, "export": 0.2}
VOLATILE = ("seconds", "per_second", "time", "minutes", "date", "host", "resum", "started", "finished")


@dataclasses.dataclass
class Outcome:
    """What became of one command's kills."""

    kills: int = 0
    while_saving: int = 0
    runs: int = 0
    rows_lost: int = 0
    bits_different: int = 0
    litter: int = 0


def is_damage(outcome: Mapping[str, int]) -> bool:
    return bool(outcome["rows_lost"] or outcome["bits_different"] or outcome["litter"])


def arguments_of(name: str, runs: Path, folder: Path) -> list[str]:
    """The command line of a run in `folder`, which starts from the undisturbed ones in `runs`."""
    if name == "export":
        return ["export", f"--checkpoint={runs / 'finetune'}", f"--output_dir={folder}", "--overwrite"]
    source = [] if name == "pretrain" else [f"--checkpoint={runs / 'pretrain'}"]
    options = MODEL if name == "pretrain" else [word for word in MODEL if "proj_out_dim" not in word]
    return [f"tf_simclr.{name}", *options, *source, f"--model_dir={folder}"]


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=log, stderr=log)


def is_saving(folder: Path) -> bool:
    """Whether a checkpoint, a table or an export is half written there."""
    hidden = [*folder.glob(".*.partial"), *folder.glob("*/.*")]
    return bool(hidden or list(folder.glob("checkpoints/*_temp*")) or list(folder.glob("checkpoints/*.tmp*")))


def has_begun(folder: Path) -> bool:
    return (folder / "lock.json").exists() or any(folder.glob("*/.*"))


class Killer:
    """Draws when a process dies."""

    def __init__(self, seed: int, span: float) -> None:
        self.random, self.span = random.Random(seed), span

    def kill(self, process: subprocess.Popen[bytes], folder: Path, outcome: Outcome) -> bool:
        """Kills the process; False when it came to its end before."""
        saving, after = self.random.random() < 0.5, self.random.uniform(0, self.span)
        self._wait(process, lambda: has_begun(folder))
        deadline = time.monotonic() + after
        self._wait(process, lambda: time.monotonic() >= deadline)
        if saving:
            self._wait(process, lambda: is_saving(folder))
        caught = is_saving(folder)
        process.send_signal(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        outcome.kills += killed
        outcome.while_saving += killed and caught
        return killed

    def _wait(self, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        while process.poll() is None and not ready():
            time.sleep(0.002)


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.wait():
        log = folder.with_suffix(".log").read_text(errors="replace")
        raise SystemExit(f"{folder.name}: exit code {process.returncode}\n{log[-3000:]}")


def torture(name: str, runs: Path, kills: int, span: float) -> Outcome:
    """Kills a command so often, and compares every end that it comes to."""
    outcome, killer = Outcome(), Killer(SEED.value + len(name), span)
    folder = runs / f"{name}_killed_0"
    while outcome.kills < kills:
        process = start(arguments_of(name, runs, folder), folder)
        if not killer.kill(process, folder, outcome):
            finish(process, folder)
            compare(runs / name, folder, outcome)
            folder = runs / f"{name}_killed_{outcome.runs}"
    finish(start(arguments_of(name, runs, folder), folder), folder)
    compare(runs / name, folder, outcome)
    return outcome


def compare(undisturbed: Path, killed: Path, outcome: Outcome) -> None:
    """Adds what the run that was killed lacks or has otherwise."""
    outcome.runs += 1
    for table in undisturbed.glob("*.csv"):
        expected, found = rows(table), rows(killed / table.name)
        outcome.rows_lost += sum(row not in found for row in expected) + max(0, len(found) - len(expected))
    expected, found = dict(contents(undisturbed)), dict(contents(killed))
    for name in expected.keys() | found.keys():
        same = name in expected and name in found and np.array_equal(expected[name], found[name])
        outcome.bits_different += not same
    outcome.litter += is_saving(killed)


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        found = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if not is_volatile(name)} for row in found]


def is_volatile(name: str) -> bool:
    return any(word in name for word in VOLATILE)


def contents(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every tensor of the newest checkpoint or of the exports, as bytes, and the figures of the result."""
    prefixes = sorted(folder.glob("checkpoints/ckpt-*.index"), key=lambda path: int(path.stem[5:]))[-1:]
    for index in [*prefixes, *folder.glob("*/*/variables/variables.index")]:
        reader = tf.train.load_checkpoint(str(index.with_suffix("")))
        where = index.parent.relative_to(folder)
        for name in reader.get_variable_to_shape_map():
            if not name.startswith("_CHECKPOINTABLE"):
                yield (
                    f"{where}: {name}",
                    np.frombuffer(np.asarray(reader.get_tensor(name)).tobytes(), np.uint8),
                )
    for path in folder.glob("*/*/verification.npz"):
        with np.load(path) as arrays:
            yield from ((f"{path.relative_to(folder)}: {name}", arrays[name]) for name in arrays.files)
    result = folder / "result.json"
    if result.exists():
        figures = json.loads(result.read_text())
        yield from ((f"result: {name}", figures[name]) for name in figures if name.startswith("top"))


def undisturbed(runs: Path) -> dict[str, float]:
    """Runs every command to its end; seconds from its beginning to there."""
    spans = {}
    for name in SHARES:
        process = start(arguments_of(name, runs, runs / name), runs / name)
        while process.poll() is None and not has_begun(runs / name):
            time.sleep(0.01)
        began = time.monotonic()
        finish(process, runs / name)
        spans[name] = time.monotonic() - began
    return spans


def run(kills: int, output: Path) -> dict[str, dict[str, int]]:
    """Outcomes by command, two commands at a time."""
    shutil.rmtree(output, ignore_errors=True)
    spans = undisturbed(output)
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = {
            name: pool.submit(torture, name, output, max(1, round(kills * share)), spans[name])
            for name, share in SHARES.items()
        }
        return {name: dataclasses.asdict(job.result()) for name, job in jobs.items()}


def main(_: Sequence[str]) -> int:
    found = run(KILLS.value, Path(OUTPUT.value))
    print(json.dumps(found, indent=2))
    return int(any(map(is_damage, found.values())))


if __name__ == "__main__":
    app.run(main)
