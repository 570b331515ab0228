"""Which test images a classifier takes for unknown: by two Weibulls of the energy, and by simpler scores."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from scipy.special import softmax

from tf_simclr import inputs
from tf_simclr.evaluation import unknowns, weibull
from tf_simclr.evaluation.features import Encode, Features, extract_features
from tf_simclr.inputs import labelled
from tf_simclr.inputs.known_classes import OpenWorld
from tf_simclr.protocols import predictions
from tf_simclr.runs.folder import RunFolder

ABOVE_ZERO = sys.float_info.min
FILE = "unknowns.npz"


def identify(run: RunFolder, logits: Encode, world: OpenWorld) -> dict[str, Any]:
    """Tests on all of `world`, writes predictions.npz and unknowns.npz, and returns what result.json says.

    Thresholds and Weibulls are of the held-out images.
    """
    wanted, temperature = run.config.data, run.config.open_set.energy_temperature
    known = labelled.features(wanted, logits, world.test_known)
    others = (world.test_unknown, world.validation_known, world.validation_unknown)
    unknown, *validation = (
        extract_features(logits, inputs.evaluation_batches(wanted, one)) for one in others
    )
    fitted = weibull.fit(*(weibull.energy(one.values, temperature) for one in validation))
    tested = [_scores(one.values, temperature, fitted) for one in (known, unknown)]
    by = [_scores(one.values, temperature, fitted) for one in validation]
    right = known.values.argmax(axis=1) == known.labels
    rows = []
    for name, own in tested[0].items():
        others_own = tested[1][name]
        from_on = unknowns.threshold(*(scores[name] for scores in by)) if name != "weibull" else ABOVE_ZERO
        found = unknowns.accuracies(own, others_own, right, from_on)
        rows.append({"score": name, "auroc": unknowns.auroc(own, others_own), **found})
    _keep(run, known, unknown, tested)
    return {
        **predictions.write(run, world.test_known, known),
        "eval_split": world.test_known.split,
        "num_unknown_examples": len(unknown.ids),
        "unknown_detection": rows,
        **{f"weibull_{name}": list(own) for name, own in fitted._asdict().items()},
    }


def _scores(logits: np.ndarray, temperature: float, fitted: weibull.Weibulls) -> dict[str, np.ndarray]:
    """Of logits [n, C], each [n]; the higher, the less is known."""
    energies = weibull.energy(logits, temperature)
    return {
        "weibull": fitted.log_ratio(energies),
        "energy": energies,
        "max_softmax": -softmax(np.asarray(logits, np.float64), axis=1).max(axis=1),
    }


def _keep(run: RunFolder, known: Features, unknown: Features, tested: list[dict[str, np.ndarray]]) -> None:
    """Writes unknowns.npz: `id`, `known` bool, and each score, [n] of all images, known ones first."""
    both = {name: np.concatenate([scores[name] for scores in tested]) for name in tested[0]}
    ids = np.concatenate([known.ids, unknown.ids])
    run.write_npz(FILE, id=ids, known=np.arange(len(ids)) < len(known.ids), **both)
