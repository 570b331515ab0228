"""Folders of converted models: the file, export.json with its distance from the live model, README.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import convert, drop, model_card, torch_weights
from .convert import Run
from .facts import facts
from .formats import GRAPHS, ROUNDED
from .parts import Models, Part
from .quiet import quiet
from .samples import Samples

EXACT = 1e-4
TOLERANCE = {"tflite_float16": 1e-2, "tflite_int8": 1.0}
"""Fractions of the largest output. Of int8 only nonsense is refused: its drop is for the user to judge."""


def planned(parts: Mapping[str, Part], form: str) -> list[str]:
    """The parts that the format has a file of; texts are for TensorFlow alone, which looks words up."""
    if form in GRAPHS:
        return list(parts)
    of_numbers = [name for name, part in parts.items() if part.words is None]
    return [name for name in of_numbers if form != "torch" or torch_weights.loadable(parts[name])]


def write(
    parts: Mapping[str, Part], name: str, form: str, models: Models, samples: Samples | None, folder: Path
) -> str:
    """Writes one part in one format and returns what came of it, in words.

    Args:
        parts: with the shapes that the file is to take.
        samples: for int8's ranges and the drop; None: it is not measured.

    Raises:
        RuntimeError: the file does not answer as the live model.
    """
    part, represent = parts[name], None
    if name == "projection_head":
        represent = drop.live(parts["encoder"])
    calibration = samples.calibration() if samples else ()
    inputs = calibration if represent is None else map(represent, calibration)
    with quiet():
        run, beside = _file(part, form, folder, inputs)
        if samples is not None and form in ROUNDED:
            said = drop.measure(name, run, part, represent, samples)
        else:
            said = {"largest_difference": drop.largest_difference(run, part)}
    if not (difference := said["largest_difference"]) <= TOLERANCE.get(form, EXACT):
        raise RuntimeError(
            f"{name}_{form} differs from the live model by {difference:.1e}: nothing was exported"
        )
    content = {**facts(part, name, models), "format": form, **beside, **said}
    (folder / "export.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card.text(content), encoding="utf-8")
    return f"{name}_{form}: {model_card.distance(content)}"


def _file(
    part: Part, form: str, folder: Path, calibration: Iterable[np.ndarray]
) -> tuple[Run, dict[str, Any]]:
    """Writes the file; what computes by it, and what export.json says of it beside."""
    if form == "torch":
        path = torch_weights.write(part, folder)
        return torch_weights.runner(path, part), {"resnet": torch_weights.about(part)}
    path = convert.convert(form, part, folder, calibration)
    return convert.runner(path, part), {"input_shape": part.spec.shape.as_list()}
