"""Exported classifiers: where one lies, and what its export.json says; read without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from tf_simclr.config.config import Config
from tf_simclr.config.groups import Data
from tf_simclr.errors import UsageError
from tf_simclr.options import options_of


def exported_config(export: str) -> Config:
    """The options of the data that an exported classifier was made with.

    Raises:
        UsageError: there is no exported classifier, or export.json cannot be used.
    """
    folder = find(export)
    facts = read_facts(folder)
    try:
        of_run = facts.get("config", {}).get("data", {})  # an older export says nothing else
        said = {"holdout": 0.0, **of_run, **facts}  # before there was --holdout, nothing was held out
        known = {name: said[name] for name, _, _ in options_of(Data()) if name in said}
        return Config("export").replace(**known)
    except (AttributeError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error


def read_facts(folder: epath.Path) -> Mapping[str, Any]:
    """The content of export.json of a classifier's folder.

    Raises:
        UsageError: it cannot be read, or says that the export is something else.
    """
    try:
        facts = json.loads((folder / "export.json").read_text())
        model = facts["model"]
    except Exception as error:  # of a remote file system, TensorFlow's own, which is not imported here
        raise damaged(folder, error) from error
    if model != "classifier":
        raise UsageError(
            f"--export={folder}: is an export of the {str(model).replace('_', ' ')}, which knows no classes; "
            "give that of a classifier"
        )
    return facts


def find(export: str) -> epath.Path:
    """`<output_dir>/classifier/<step>`, given itself, or as one of the folders above it: the largest step.

    Raises:
        UsageError: no export is there.
    """
    folder = epath.Path(export)
    for candidate in (folder, folder / "classifier"):
        if (candidate / "export.json").exists():
            return candidate
        steps = (
            [child for child in candidate.iterdir() if child.name.isdecimal()] if candidate.is_dir() else []
        )
        if steps:
            return max(steps, key=lambda child: int(child.name))
    raise UsageError(
        f"--export={export}: no exported classifier here; give the folder classifier/STEP that "
        "python -m export wrote"
    )


def damaged(folder: epath.Path, error: Exception) -> UsageError:
    """The one line about an export that cannot be used."""
    reason = " ".join(str(error).split())[:200]
    return UsageError(
        f"--export={folder}: cannot be used ({reason or type(error).__name__}); export it again"
    )
