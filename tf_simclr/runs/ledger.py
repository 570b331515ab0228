"""ledger.json: what a training has recorded of itself beside its checkpoints.

It tells a run that was stopped before its first checkpoint from one whose checkpoints were lost.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole
from tf_simclr.runs.prefixes import saved_in

NAME = "ledger.json"
MENDABLE = ("learning_rate",)


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What one folder says.

    Attributes:
        saved_step: of the newest checkpoint that was ever written, and verified.
        skipped: [step saved, broken steps taken back until then], where the second grew.
        stopped: {"step", "part"} of a step that was not finite, until training gets beyond it.
        changes: {"from_step", "option", "was", "is", "stopped_at", "part"} of flags mended after one.
    """

    saved_step: int = 0
    skipped: tuple[tuple[int, int], ...] = ()
    stopped: Mapping[str, Any] | None = None
    changes: tuple[Mapping[str, Any], ...] = ()

    def skipped_until(self, step: int) -> int:
        """Broken steps among the first `step`."""
        return max((count for saved, count in self.skipped if saved <= step), default=0)

    def saved(self, step: int, skipped: int) -> Ledger:
        """With a checkpoint of `step`; counts of work that was lost are dropped."""
        before = tuple((saved, count) for saved, count in self.skipped if saved < step)
        if skipped > max((count for _, count in before), default=0):
            before = (*before, (step, skipped))
        beyond = self.stopped is None or step >= self.stopped["step"]
        return dataclasses.replace(
            self, saved_step=step, skipped=before, stopped=None if beyond else self.stopped
        )

    def mended(self, step: int, asked: Config, found: Config) -> Ledger:
        """With the flags that differ from the run `found`, which stopped and goes on from `step`."""
        if self.stopped is None:
            return self
        was, now = ({name: value for name, _, value in one.options()} for one in (found, asked))
        changed = tuple(
            {
                "from_step": step,
                "option": name,
                "was": was[name],
                "is": now[name],
                "stopped_at": self.stopped["step"],
                "part": self.stopped["part"],
            }
            for name in MENDABLE
            if was[name] != now[name]
        )
        return dataclasses.replace(self, changes=(*self.changes, *changed))


def read(folder: epath.Path) -> Ledger | None:
    """None where a folder has none: of a run that did not train, or of before there were any.

    Raises:
        UsageError: it is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text()) if path.exists() else None
        if content is None:
            return None
        skipped = tuple((step, count) for step, count in content.pop("skipped"))
        return Ledger(**{**content, "skipped": skipped, "changes": tuple(content.get("changes", ()))})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({error}); delete it and run the command again") from error


def write(folder: epath.Path, content: Ledger) -> None:
    write_whole(folder / NAME, json.dumps(dataclasses.asdict(content), indent=2) + "\n")


def require_checkpoint(folder: epath.Path, checkpoints: epath.Path) -> None:
    """Refuses a run whose steps are recorded while no checkpoint of them is left.

    Raises:
        UsageError: so it is.
    """
    if saved_in(checkpoints):
        return
    found = read(folder)
    if found is not None:
        recorded = f"step {found.saved_step:,} was saved ({NAME})" if found.saved_step else ""
    else:  # from before there was a ledger
        kept = [name for name in ("timing.json", "metrics.csv") if (folder / name).exists()]
        recorded = f"steps are recorded ({', '.join(kept)})" if kept else ""
    if recorded:
        raise UsageError(
            f"--model_dir={folder}: {recorded}, but no checkpoint is left in {checkpoints.name}/; bring them "
            "back, or delete the folder to start anew"
        )


def flags_as_found(asked: Config, found: Config, folder: epath.Path) -> Config:
    """`asked` with the values of `found` where a stop at a step that was not finite lets flags be mended."""
    content = read(folder)
    if content is None or content.stopped is None:
        return asked
    was = {name: value for name, _, value in found.options() if name in MENDABLE}
    return asked.replace(**was)


def figures(folder: epath.Path, config: Config, steps: int) -> dict[str, Any]:
    """What result.json says: the steps left out where any may be, and the flags that were mended."""
    content = read(folder)
    if content is None:
        return {}
    asked = config.optimization.skip_nonfinite_steps
    skipped = {"skipped_nonfinite_steps": content.skipped_until(steps)} if asked else {}
    return {**skipped, **({"mended_flags": list(content.changes)} if content.changes else {})}
