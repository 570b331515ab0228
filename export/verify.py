"""Checks of an export, in a process that knows nothing of tf_simclr: `python -m export --verify=DIR`.

One line a check; the first that fails ends it. Everything runs on public TensorFlow and `tf.keras`, of
TensorFlow 2.15 or later and of Keras 2 or 3.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

TOLERANCE = 1e-5
FILES = ("saved_model.pb", "export.json", "README.md", "verification.npz")


class NotAnExport(ValueError):
    """The folder given is no export."""


class CheckFailed(Exception):
    """What was found instead of what the export promises."""


@dataclasses.dataclass(frozen=True)
class Export:
    """A loaded export: its folder, export.json, verification.npz and model."""

    folder: Path
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    model: Any

    @property
    def takes_images(self) -> bool:
        return self.facts["model"] in ("encoder", "classifier")

    @property
    def num_cases(self) -> int:
        return sum(name.startswith("inputs_") for name in self.arrays)


def resolve(path: str) -> Path:
    """`<model>/<step>`, given itself or as `<model>`, whose largest number counts."""
    folder = Path(path)
    if not folder.is_dir():
        raise NotAnExport(f"--verify={path}: no such folder")
    numbers = [child for child in folder.iterdir() if child.is_dir() and child.name.isdecimal()]
    if numbers and not (folder / "saved_model.pb").exists():
        folder = max(numbers, key=lambda child: int(child.name))
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise NotAnExport(f"--verify={path}: no export here ({folder / missing[0]} is missing)")
    return folder


def load(folder: Path) -> Export:
    """Loads an export folder."""
    with np.load(folder / "verification.npz") as stored:
        arrays = dict(stored)
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    return Export(folder, facts, arrays, tf.saved_model.load(str(folder)))


def weights_sha256(variables: Sequence[tf.Variable]) -> str:
    """SHA-256 of the variables' shapes, types and values, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        value = np.ascontiguousarray(variable.numpy())
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def graph_sha256(folder: Path) -> str:
    """SHA-256 of saved_model.pb: of what TensorFlow will run."""
    return hashlib.sha256((folder / "saved_model.pb").read_bytes()).hexdigest()


def foreign(folder: Path) -> bool:
    """Whether the graph is not known to be the one that was exported here."""
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    return facts.get("graph_sha256") != graph_sha256(folder)


def check_interface(export: Export) -> str:
    """The attributes of a Reusable SavedModel, all in float32, and the layers of a head."""
    model = export.model
    parts = [model, *(getattr(model, name) for name in export.facts["layers"])]
    for part in parts:
        if not callable(part) or not hasattr(part, "regularization_losses"):
            raise CheckFailed("a part lacks __call__ or regularization_losses")
        known = {id(variable) for variable in part.variables}
        if not all(id(variable) in known for variable in part.trainable_variables):
            raise CheckFailed("trainable_variables holds something that variables does not")
    kinds = {variable.dtype.name for variable in model.variables if not variable.dtype.is_integer}
    if kinds - {"float32"}:
        raise CheckFailed(f"variables of {sorted(kinds)}, expected float32 alone (and counters)")
    return f"{len(model.variables)} variables, {len(model.trainable_variables)} of them trainable"


def check_weights(export: Export) -> str:
    """The weights are those that export.json names."""
    found = weights_sha256(export.model.variables)
    if found != export.facts["weights_sha256"]:
        raise CheckFailed(f"SHA-256 is {found}, export.json says {export.facts['weights_sha256']}")
    return found[:12]


def check_inference(export: Export) -> str:
    """training=False by default, as a keyword and in place equals the live model and moves no statistics."""
    before = _values(export.model.variables)
    calls = [
        export.model,
        lambda x: export.model(x, training=False),
        lambda x: export.model(x, False),
    ]
    worst = max(_compare(export, "inference", call) for call in calls)
    _require_unmoved(export, before, "training=False")
    return f"{export.num_cases} inputs, largest difference {worst:.1e}"


def check_training(export: Export) -> str:
    """training=True equals the live model on batch statistics, and moves what moved there and nothing else.

    What draws at random, as dropout does, has no answer to compare with.
    """
    before = _values(export.model.variables)
    trainable = {id(variable) for variable in export.model.trainable_variables}
    statistics = [id(variable) not in trainable for variable in export.model.variables]
    drawn, worst = "training_0" not in export.arrays, 0.0
    for call in (lambda x: export.model(x, training=True), lambda x: export.model(x, True)):
        if drawn:
            call(tf.constant(export.arrays["inputs_0"]))
        else:
            worst = max(worst, _compare(export, "training", call))
    moves = export.arrays.get("moves", statistics)
    for variable, value, expected in zip(export.model.variables, before, moves, strict=True):
        moved = not np.array_equal(variable.numpy(), value)
        if moved != expected:
            raise CheckFailed(f"{variable.name} {'moved' if moved else 'did not move'} with training=True")
    _restore(export, before)
    compared = "draws at random" if drawn else f"{export.num_cases} inputs, largest difference {worst:.1e}"
    return f"{compared}; batch-norm statistics move"


def check_gradients(export: Export) -> str:
    """Every trainable variable has a finite gradient in both modes."""
    before = _values(export.model.variables)
    inputs = tf.constant(export.arrays[f"inputs_{export.num_cases - 1}"])
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(export.model(inputs, training=training)))
        gradients = tape.gradient(loss, export.model.trainable_variables)
        for variable, gradient in zip(export.model.trainable_variables, gradients, strict=True):
            if gradient is None or not np.all(np.isfinite(tf.convert_to_tensor(gradient))):
                raise CheckFailed(f"{variable.name} has no finite gradient with training={training}")
    _restore(export, before)
    return f"{len(export.model.trainable_variables)} trainable variables"


def check_fine_tuning(export: Export) -> str:
    """A few steps with a `tf.keras` layer on top and a `tf.keras` optimizer lower the loss."""
    if not export.model.trainable_variables:
        return "nothing to train"
    for share in (0.1, 0.05, 0.025):  # too long a step may pass by the minimum
        losses = _fine_tuned(export, share)
        if losses[-1] < losses[0]:
            return f"{len(losses) - 1} steps, loss {losses[0]:.4f} to {losses[-1]:.4f}"
    raise CheckFailed(f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}")


def check_signatures(export: Export) -> str:
    """Signatures of numbers equal the call; a classifier's probabilities are the softmax of its logits."""
    names, expected = set(export.model.signatures), _expected_signatures(export)
    if names != expected:
        raise CheckFailed(f"found {sorted(names)}, expected {sorted(expected)}")
    arguments = {"projection_head": "representations", "text_encoder": "texts"}
    argument = arguments.get(export.facts["model"], "images")
    for name in sorted(names - {"serving_bytes"}):
        for index in range(export.num_cases):
            inputs = export.arrays[f"inputs_{index}"]
            if name == "serving_uint8":
                inputs = np.round(inputs * 255).astype(np.uint8)
            answer = export.model.signatures[name](**{argument: tf.constant(inputs)})
            _require_close(answer["default"], export.arrays[f"inference_{index}"], f"{name}, input {index}")
            if export.facts["model"] == "classifier":
                _require_close(answer["probabilities"], tf.nn.softmax(answer["default"]), "probabilities")
    return ", ".join(sorted(names))


def _expected_signatures(export: Export) -> set[str]:
    """Those that export.json names; an older one has none, and its export no uint8."""
    if "signatures" in export.facts:
        return set(export.facts["signatures"])
    of_images = {"serving_default", "serving_bytes"} if export.takes_images else {"serving_default"}
    return of_images | ({"image_feature_vector"} if export.facts["model"] == "encoder" else set())


def check_bytes(export: Export) -> str:
    """serving_bytes on a JPEG and a PNG equals serving_default on the images as training's code has them."""
    if not export.takes_images:
        return "not for vectors or texts"
    files = [export.arrays[name].tobytes() for name in ("jpeg", "png")]
    images = tf.constant(np.stack([export.arrays["jpeg_image"], export.arrays["png_image"]]))
    answer = export.model.signatures["serving_bytes"](image_bytes=tf.constant(files))
    expected = export.model.signatures["serving_default"](images=images)
    worst = max(_require_close(answer[key], expected[key], f"serving_bytes: {key}") for key in expected)
    return f"JPEG and PNG, largest difference {worst:.1e}"


def check_class_names(export: Export) -> str:
    """The assets name every class."""
    if export.facts["model"] != "classifier":
        return "not for this model"
    path = export.folder / "assets" / "class_names.txt"
    names = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if len(names) != export.arrays["inference_0"].shape[-1]:
        raise CheckFailed(
            f"{path} has {len(names)} lines for {export.arrays['inference_0'].shape[-1]} logits"
        )
    return f"{len(names)} classes"


def check_independence(_: Export) -> str:
    """Nothing above needed the training code."""
    foreign = sorted({"tf_simclr", "keras_cv", "tensorflow_addons"} & set(sys.modules))
    if foreign:
        raise CheckFailed(f"{', '.join(foreign)} is imported")
    return "neither tf_simclr nor keras_cv is imported"


CHECKS: tuple[tuple[str, Callable[[Export], str]], ...] = (
    ("reusable interface", check_interface),
    ("weights", check_weights),
    ("inference", check_inference),
    ("training", check_training),
    ("gradients", check_gradients),
    ("fine-tuning", check_fine_tuning),
    ("signatures", check_signatures),
    ("image bytes", check_bytes),
    ("class names", check_class_names),
    ("independence", check_independence),
)


def main(paths: Sequence[str]) -> int:
    """Verifies each folder, printing a line a check.

    Returns:
        0; 1 at the first check that fails; 2 when a path is no export.
    """
    try:
        folders = [resolve(path) for path in paths]
    except NotAnExport as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0 if all(_verify(folder) for folder in folders) else 1


def _verify(folder: Path) -> bool:
    print(f"{folder} (TensorFlow {tf.__version__})")
    check = "load"
    try:
        if foreign(folder):
            print(
                "  warn  graph: not the one that was exported, or older; what it says runs (docs/security.md)"
            )
        export = load(folder)
        for check, run in CHECKS:
            print(f"  ok    {check}: {run(export)}", flush=True)
    except Exception as error:  # whatever a broken export raises is its failure
        message = " ".join(str(error).split())[:500]
        print(f"  FAIL  {check}: {message or type(error).__name__}", flush=True)
        return False
    return True


def _compare(export: Export, mode: str, call: Callable[[tf.Tensor], tf.Tensor]) -> float:
    return max(
        _require_close(
            call(tf.constant(export.arrays[f"inputs_{index}"])),
            export.arrays[f"{mode}_{index}"],
            f"input {index}",
        )
        for index in range(export.num_cases)
    )


def _require_close(found: Any, expected: Any, what: str) -> float:
    """Largest difference as a fraction of the largest expected value (at least 1)."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise CheckFailed(f"{what}: {found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}")
    difference = float(np.max(np.abs(found - expected)) / max(1.0, np.max(np.abs(expected))))
    if not difference <= TOLERANCE:
        raise CheckFailed(f"{what}: differs by {difference:.1e}, more than {TOLERANCE}")
    return difference


def _fine_tuned(export: Export, share: float, steps: int = 3) -> list[float]:
    """The loss before, between and after steps of a length of `share` each; the export stays as it was."""
    before = _values(export.model.variables)
    inputs = tf.constant(export.arrays[f"inputs_{export.num_cases - 1}"])
    labels = tf.range(inputs.shape[0]) % 2
    layer = tf.keras.layers.Dense(2, kernel_initializer=tf.keras.initializers.GlorotUniform(seed=0))
    objective = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = objective(labels, layer(export.model(inputs, training=True)))
        losses.append(float(loss))
        variables = [*export.model.trainable_variables, *layer.trainable_variables]
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        _descend(variables, gradients, share * losses[-1])
    losses.append(float(objective(labels, layer(export.model(inputs, training=True)))))
    _restore(export, before)
    return losses


def _descend(variables: Sequence[tf.Variable], gradients: Sequence[tf.Tensor], decrease: float) -> None:
    """A step of plain SGD so long that, to first order, the loss goes down by `decrease`."""
    squares = sum(float(tf.reduce_sum(tf.square(gradient))) for gradient in gradients)
    optimizer = tf.keras.optimizers.SGD(decrease / squares)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def _values(variables: Sequence[tf.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _restore(export: Export, values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(export.model.variables, values, strict=True):
        variable.assign(value)


def _require_unmoved(export: Export, before: Sequence[np.ndarray], when: str) -> None:
    for variable, value in zip(export.model.variables, before, strict=True):
        if not np.array_equal(variable.numpy(), value):
            raise CheckFailed(f"{variable.name} moved with {when}")
