"""From a command to its first training step, beside what TensorFlow alone takes to get there.

    python -m benchmarks.startup --data_dir=FOLDER

The plain way: import TensorFlow, build a Keras ResNet-18, trace and run one step. Ours runs
flags/cifar10/pretrain_cpu.cfg until the checkpoint of its first step is there. Whole processes are timed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from benchmarks.contest import Claim, Contest, publish, take_turns

DATA_DIR = flags.DEFINE_string("data_dir", "", "folder where TFDS has CIFAR-10; empty: TFDS's own default")
FLAGFILE = "flags/cifar10/pretrain_cpu.cfg"

PLAIN = """
from benchmarks import textbook
import tensorflow as tf
model = textbook.SimCLR(0.25)
model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9))
views = tf.random.uniform([256, 32, 32, 3])
model.fit(tf.data.Dataset.from_tensors({"view_a": views, "view_b": views}), verbose=0)
"""


def plain() -> None:
    subprocess.run([sys.executable, "-c", PLAIN], check=True, stderr=subprocess.DEVNULL)


def ours() -> None:
    """Waits for the checkpoint of step 1, then stops the process: what follows is the evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        own = [f"--data_dir={DATA_DIR.value}", f"--model_dir={folder}/run", "--train_steps=1"]
        command = [sys.executable, "-m", "tf_simclr.pretrain", f"--flagfile={FLAGFILE}", *own]
        with (Path(folder) / "stderr").open("w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while not (Path(folder) / "run" / "checkpoints" / "ckpt-1.index").exists():
                if process.poll() is not None:
                    raise app.UsageError((Path(folder) / "stderr").read_text().strip())
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()


def help_() -> None:
    command = [sys.executable, "-m", "tf_simclr.pretrain", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    contest = Contest(
        f"from a command to its first step, {FLAGFILE}",
        take_turns({"plain Keras": plain, "ours": ours, "--help": help_}),
        amount=1,
        unit="starts",
        claims=[Claim("ours", "plain Keras", 1 / 2)],
    )
    publish("startup", contest)


if __name__ == "__main__":
    app.run(main)
