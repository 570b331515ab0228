"""What every pretraining method must stand: a test of a method is its oracle and one call of this."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from export.saved_model import export_run
from tests.small_runs import TINY
from tf_simclr import linear_eval, methods, pretrain, runs
from tf_simclr.checks import parity
from tf_simclr.config import Config
from tf_simclr.models import BatchNorm, Pretraining, ProjectionHead
from tf_simclr.reports import plots

ROOT = Path(__file__).resolve().parents[2]
IMAGES, SIDE = 8, 8


def run_method_test(name: str, folder: Path, **options: Any) -> None:
    """Trains on digits; resumes to the bit; equals itself on 2 replicas and in chunks; every later command.

    The head is the method's published one; `options` may change it, or be the method's own. It takes most of
    a minute: mark it slow.
    """
    published = methods.find(name).defaults
    tiny = {
        **TINY,
        "train_batch_size": 32,
        "probe_epochs": 1,
        "probe_images": 200,
        **{option: published[option] for option in published if "proj" in option},
    }
    config = Config("pretrain").replace(
        **{**tiny, "method": name, "model_dir": str(folder / "run"), **options}
    )
    pretrain.pretrain(config)
    with (folder / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(config.method.figures) <= rows[-1].keys()
    assert {"online_loss", "online_accuracy"} <= rows[-1].keys()
    assert all(np.isfinite(float(value)) for value in rows[-1].values())
    assert (folder / "run" / "probe.csv").exists()
    _resumes_to_the_bit(config, folder)
    _two_replicas_train_as_one(name, options)
    if config.method.micro_batches:
        _chunks_have_the_gradient_of_the_whole(config)
    _is_evaluated_and_exported(config, folder)
    _later_commands_take_the_run(config, folder)


def _resumes_to_the_bit(config: Config, folder: Path) -> None:
    whole, cut = folder / "run", folder / "cut"
    shutil.copytree(whole, cut)
    for path in (cut / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    pretrain.pretrain(config.replace(model_dir=str(cut)))
    assert (cut / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    ours, theirs = (_variables(path / "checkpoints" / "ckpt-6") for path in (whole, cut))
    assert ours.keys() == theirs.keys()
    for variable, value in ours.items():
        np.testing.assert_array_equal(theirs[variable], value, err_msg=variable)


def _variables(prefix: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(prefix))
    names = (name for name in reader.get_variable_to_shape_map() if name.startswith("model/"))
    return {name: reader.get_tensor(name) for name in names}


def _two_replicas_train_as_one(name: str, options: dict[str, Any]) -> None:
    own = [f"--{option}={value}" for option, value in options.items() if option in _own_options(name)]
    command = [sys.executable, "-m", "tf_simclr.doctor", "--parity", f"--method={name}", *own]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "parity holds" in done.stdout


def _own_options(name: str) -> set[str]:
    return set(methods.find(name).__dataclass_fields__)


def _chunks_have_the_gradient_of_the_whole(config: Config) -> None:
    """Where batch norm is in inference mode nothing differs but rounding."""
    images = tf.random.stateless_uniform([IMAGES, config.method.num_views, SIDE, SIDE, 3], [1, 2])
    batch = {"views": images, "label": tf.range(IMAGES) % 3}
    if config.method.needs_index:
        batch["index"] = tf.range(IMAGES, dtype=tf.int64)
    whole, chunked = (_after_a_step(config.method, chunks, batch) for chunks in (1, 2))
    for ours, theirs in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)


def _after_a_step(method: methods.Method, chunks: int, batch: dict[str, tf.Tensor]) -> list[np.ndarray]:
    tf.keras.utils.set_random_seed(0)
    model = Pretraining(
        method,
        parity.small_encoder(),
        ProjectionHead(out_dim=6),
        micro_batches=chunks,
        total_steps=4,
        num_images=IMAGES,
        captions=parity.captions_of(method),
    )
    model.compile()  # makes all layers
    for layer in model.submodules:
        if isinstance(layer, BatchNorm):
            layer.trainable = False
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    return [variable.numpy() for variable in model.trainable_variables]


def _is_evaluated_and_exported(config: Config, folder: Path) -> None:
    linear = _later(config, "linear_eval", folder).replace(augment=False)
    linear_eval.linear_eval(linear)
    run = runs.load_run(linear.run.model_dir)
    assert run.settings["pretrained_by"]["method"]["name"] == methods.name_of(config.method)
    with mock.patch("export.saved_model._verify"):
        exported = export_run(run, str(folder / "exports"))
    assert {path.parent.name for path in exported} == {"encoder", "projection_head", "classifier"}
    card = (exported[0] / "README.md").read_text()
    assert type(config.method).__name__ in card
    images = tf.random.stateless_uniform([2, SIDE, SIDE, 3], [3, 4])
    encoder = tf.saved_model.load(str(exported[0]))
    live = run.encoder(images).numpy()
    np.testing.assert_allclose(encoder(images), live, rtol=0, atol=1e-5 * max(1.0, np.abs(live).max()))


def _later(config: Config, command: str, folder: Path) -> Config:
    """A command on the run of `config`."""
    return Config(command).replace(
        **{**TINY, **dataclasses.asdict(config.encoder), **dataclasses.asdict(config.head)},
        checkpoint=config.run.model_dir,
        model_dir=str(folder / command),
        optimizer="nesterov",
    )


def _later_commands_take_the_run(config: Config, folder: Path) -> None:
    for name in ("knn", "finetune", "transfer", "embed"):
        protocol = getattr(importlib.import_module(f"tf_simclr.{name}"), name)
        with mock.patch.object(plots, "MOST_POINTS", 40):  # of t-SNE, which would take most of the time
            protocol(_later(config, name, folder))
        assert (folder / name / "result.json").exists()
