"""What a killed process, a full disk or a passer-by leaves in a folder of checkpoints."""

from __future__ import annotations

import re

from etils import epath

from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole
from tf_simclr.runs import verification
from tf_simclr.runs.prefixes import step_of


def tidy(folder: epath.Path) -> None:
    """Removes what is no part of a whole checkpoint; nobody else may be writing."""
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    for name in names:
        data = re.fullmatch(r"(ckpt-\d+)\.data-.*", name)
        orphan = data is not None and f"{data.group(1)}.index" not in names
        if orphan or re.fullmatch(r"ckpt-\d+_temp.*|checkpoint\.tmp.*|\..*\.partial", name):
            path = folder / name
            path.rmtree() if path.is_dir() else path.unlink(missing_ok=True)


def discard(folder: epath.Path, step: int) -> None:
    """Removes ckpt-STEP where it is not good, which frees its space, with what is no part of any."""
    try:
        verification.require_good(str(folder / f"ckpt-{step}"))
    except UsageError:
        for path in folder.glob(f"ckpt-{step}.*"):
            path.unlink(missing_ok=True)
    tidy(folder)


def write_state(folder: epath.Path, found: list[str]) -> None:
    """Writes the file `checkpoint`, which TensorFlow's manager trusts, for `found`, newest last."""
    if not found:
        (folder / "checkpoint").unlink(missing_ok=True)
        return
    names = [f"ckpt-{step_of(prefix)}" for prefix in found]
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    lines += [f"all_model_checkpoint_timestamps: {number}.0" for number in range(1, len(names) + 1)]
    write_whole(folder / "checkpoint", "\n".join([*lines, "last_preserved_timestamp: 0.0", ""]))
