"""A folder for Hugging Face and Kaggle: a SavedModel whose README.md has a hub's metadata, and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_simclr.config import stored
from tf_simclr.reports import plots

from .parts import Models

UNKNOWN = "unknown"  # the word that Hugging Face has for it
_TASKS = {"encoder": "image-feature-extraction", "classifier": "image-classification"}

_SECTION = """
## From a hub

```python
import huggingface_hub, kagglehub  # either one
import tensorflow as tf

model = tf.saved_model.load(huggingface_hub.snapshot_download("OWNER/NAME"))
model = tf.saved_model.load(kagglehub.model_download("OWNER/NAME/tensorFlow2/{model}"))
```

## Licence

{licence}. The code that made the weights, tf_simclr, is under Apache 2.0.
{figures}"""


def figures(checkpoint: str, class_names: Sequence[str]) -> dict[str, bytes]:
    """PNGs by file name, none of which shows an image of the data."""
    folder, found = stored.run_of(checkpoint), {}
    if (folder / "metrics.csv").exists():
        found["training.png"] = plots.training_curves(folder / "metrics.csv")
    if class_names and (folder / "predictions.npz").exists():
        with (folder / "predictions.npz").open("rb") as file, np.load(file) as opened:
            labels, predictions = opened["label"], opened["prediction"]
        if labels.ndim == 1 and len(labels) and labels.min() >= 0:
            found["confusion.png"] = plots.confusion_matrix(labels, predictions, class_names)
    return found


def with_metadata(card: str, facts: Mapping[str, Any], models: Models, folder: Path) -> str:
    """The card with a hub's metadata before it and its sections behind; writes the figures beside it."""
    shown = ""
    for name, png in models.figures.items():
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / name).write_bytes(png)
        shown += f"\n![{name.removesuffix('.png').capitalize()}](figures/{name})\n"
    licence = "Not stated by who exported it" if models.licence == UNKNOWN else models.licence
    if shown:
        shown = f"\n## Figures\n{shown}"
    metadata = "\n".join(f"{key}: {json.dumps(value)}" for key, value in _metadata(facts, models).items())
    section = _SECTION.format(model=facts["model"], licence=licence, figures=shown)
    return f"---\n{metadata}\n---\n\n{card}{section}"


def _metadata(facts: Mapping[str, Any], models: Models) -> dict[str, Any]:
    """Of the card, as huggingface_hub reads it; JSON values are YAML."""
    config, model = facts["config"], facts["model"]
    method = (stored.pretraining(config) or {}).get("method", {}).get("name", "simclr")
    found: dict[str, Any] = {"license": models.licence, "library_name": "tf-keras"}
    if model in _TASKS:
        found["pipeline_tag"] = _TASKS[model]
    found["tags"] = ["tensorflow", "saved-model", "self-supervised-learning", "contrastive-learning", method]
    dataset = config.get("data", {}).get("dataset", "")
    if dataset and ":" not in dataset:  # a folder of one's own has no name elsewhere
        found["datasets"] = [dataset.partition("/")[0]]
    if facts["top1"] is not None:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": found.get("datasets", ["own"])[0], "name": found.get("datasets", ["own"])[0]},
            "metrics": [{"type": "accuracy", "name": "top-1", "value": round(facts["top1"] / 100, 4)}],
        }
        found["model-index"] = [{"name": f"{method}-{model}".replace("_", "-"), "results": [result]}]
    return found
