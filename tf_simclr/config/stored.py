"""Stored runs: the configuration of a run folder, and what a command inherits of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from tf_simclr.config.config import SOURCES, Config, differences, group_names
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.methods.simclr import SimCLR

HELD_OUT = "holdout_ids.txt"
PREPARED = {
    "config.json",
    "flags.cfg",
    "data.json",
    "labelled_ids.txt",
    "validation_ids.txt",
    HELD_OUT,
    "teacher.json",
    "logs",
    "lock.json",
    "ledger.json",
}
_KERAS = "tensorflow.keras.applications:"  # builds what its arguments say, and calls nobody
_OF_PRETRAINING = "method augmentation memory probe preview profile".split()
_OF_EVALUATION = (
    "labels draws freezing selection sweep transfers embedding repeats comparison imported".split()
)


def stored_config(checkpoint: str) -> Config:
    """The configuration of the run that `checkpoint` (a run folder or a checkpoint's prefix) belongs to.

    Its method is left at the default: nothing but pretraining needs it.

    Raises:
        UsageError: there is no run, or it cannot be read.
    """
    try:
        config = _without_method(read_tree(run_of(checkpoint)))
        _announce(checkpoint, config.encoder.encoder)
        return config
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(
            f"--checkpoint={checkpoint}: no run here (config.json is missing); give a run folder, or "
            "RUN/checkpoints/ckpt-STEP, or import other weights with tf_simclr.import_official"
        ) from None
    except Exception as error:  # of a remote file system, TensorFlow's own, which is not imported here
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--checkpoint={checkpoint}: cannot be read ({reason})") from error


@functools.cache
def _announce(run: str, encoder: str) -> None:
    """Says once that building the encoder of a run calls a function that the run names."""
    if ":" in encoder and not encoder.startswith(_KERAS):
        print(
            f"note: {run} has its encoder made by {encoder}: use it only if you trust who made it "
            "(docs/security.md)",
            file=sys.stderr,
            flush=True,
        )


def read_config(folder: epath.Path) -> Config:
    """config.json of a run folder with its method; errors as `read_tree`'s."""
    tree = read_tree(folder)
    try:
        return Config.from_tree(tree)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{folder / 'config.json'} cannot be used: {error}") from error


def run_of(checkpoint: str) -> epath.Path:
    """The run folder of a run folder, of a sweep's (its chosen run), or of RUN/checkpoints/ckpt-STEP."""
    path = epath.Path(checkpoint)
    if not path.is_dir():
        return path.parent.parent
    chosen = path / "chosen"
    return chosen if not (path / "checkpoints").exists() and (chosen / "config.json").exists() else path


def holds_work(path: epath.Path) -> bool:
    """Whether a run got beyond its preparation: such a folder is not given to a run with other flags."""
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if "checkpoints" in names and not any((path / "checkpoints").iterdir()):
        names.remove("checkpoints")
    return bool(names & {"checkpoints", "result.json"}) or ("config.json" in names and bool(names - PREPARED))


def inherit(config: Config, stored: Config, given: set[str]) -> Config:
    """Takes data set, image size, encoder and head from the checkpoint's run where no flag was given.

    Raises:
        DoesNotFit: a flag that was given contradicts the run's architecture.
    """
    asked = {name: value for name, _, value in config.options()}
    taken, clashes = {}, []
    for name, rules, value in _inherited(stored, config, given):
        if name not in given or (name == "stem" and config.encoder.stem == "auto"):
            taken[name] = value
        elif rules.get("architecture") and name != "stem" and asked[name] != value:
            clashes.append((name, value, asked[name]))
    if "stem" in given and config.encoder.stem not in ("auto", stored.stem):
        clashes.append(("stem", stored.stem, config.stem))
    config = config.replace(**taken)
    if clashes:
        has = " ".join(f"--{name}={value}" for name, value, _ in clashes)
        wanted = " ".join(f"--{name}={value}" for name, _, value in clashes)
        raise DoesNotFit(
            f"--checkpoint={config.checkpoints.checkpoint} is {has}; you asked for {wanted}: leave it out",
            asked=config,
        )
    return config


def follow(config: Config, teacher: Config, given: set[str]) -> Config:
    """As `inherit`, from a student's teacher: an architecture that was given may be another."""
    found = _inherited(teacher, config, given)
    return config.replace(**{name: value for name, _, value in found if name not in given})


def resumed(config: Config, given: set[str]) -> Config:
    """Where --holdout is not given, a run that holds nothing out (older ones never do) goes on so."""
    path = epath.Path(config.run.model_dir)
    if "holdout" in given or not config.run.model_dir:
        return config
    try:
        undivided = holds_work(path) and read_tree(path)["data"]["holdout"] == 0
    except Exception:  # no run, or a damaged one: said where it is opened
        return config
    return config.replace(holdout=0.0) if undivided else config


def _inherited(
    stored: Config, asked: Config, given: set[str]
) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """(name, rules, value) of the options that a command takes from a stored run."""
    for name, field, value in stored.options():
        rules = field.metadata
        if name == "labels" and "dataset" in given:
            continue
        if name in ("holdout", "holdout_seed") and not _of_same_data(stored, asked, given):
            continue
        if (
            rules.get("architecture")
            or rules.get("inherited")
            or asked.command in rules.get("inherited_by", ())
        ):
            yield name, rules, stored.stem if name == "stem" else value


def _of_same_data(stored: Config, asked: Config, given: set[str]) -> bool:
    """Whether a command reads the data set of the stored run."""
    if "datasets" in given:
        return stored.data.dataset in asked.transfers.datasets.split(",")
    return "dataset" not in given or stored.data.dataset == asked.data.dataset


def with_source(config: Config) -> Config:
    """The configuration with what the runs of its --checkpoint and its --teacher say of themselves."""
    pretrained_by, taught_by = (
        read_tree(run_of(run)) if run else None
        for run in (config.checkpoints.checkpoint, config.distillation.teacher)
    )
    return dataclasses.replace(config, pretrained_by=pretrained_by, taught_by=taught_by)


def same_source(config: Config, found: Config) -> bool:
    """Whether two runs came from the same one, as far as both say; what a resumed run may change aside."""
    ours, theirs = config.pretrained_by, found.pretrained_by
    if ours is None or theirs is None:
        return True
    options = not differences(_without_method(ours), _without_method(theirs))
    return options and ours.get("method") == theirs.get("method") and ours["command"] == theirs["command"]


def pretraining(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a run's `read_tree` that says how its encoder was pretrained; None where nothing does.

    A student's that began with random weights is its teacher's.
    """
    if tree.get("command") in ("pretrain", "import_official"):
        return tree
    source = tree.get("pretrained_by") or tree.get("taught_by")
    return None if source is None else pretraining(source)


def read_tree(folder: epath.Path) -> dict[str, Any]:
    """config.json of a run folder as it is; one of the old form as it would be written today.

    Raises:
        FileNotFoundError: it is not there.
        UsageError: it cannot be read.
    """
    try:
        tree = json.loads((folder / "config.json").read_text())
        _hold_nothing_out(tree)
        if "objective" in tree:
            config = _of_old_form(tree)
            foreign = {
                "doctor",
                "reproduction",
                "predicting",
                *(_OF_EVALUATION if config.command == "pretrain" else _OF_PRETRAINING),
            }
            tree = config.to_tree([group for group in group_names() if group not in foreign])
        _without_method(tree)
        return tree
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError("config.json is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # not UTF-8, not JSON, not ours
        raise UsageError(f"{folder / 'config.json'} cannot be used: {error}") from error


def _hold_nothing_out(tree: dict[str, Any]) -> None:
    """Says of a run that began before there was --holdout, and of its sources, that it did without."""
    tree.get("data", {}).setdefault("holdout", 0.0)
    for source in SOURCES:
        if tree.get(source):
            _hold_nothing_out(tree[source])


def _of_old_form(tree: Mapping[str, Any]) -> Config:
    """Before methods had a group, config.json held the groups of every command, and no source."""
    config = Config.from_tree(tree)
    if config.command == "pretrain":
        return config
    config = dataclasses.replace(config, method=SimCLR())
    try:
        return with_source(config)
    except (FileNotFoundError, UsageError):  # the source has moved since, or is damaged
        return config


def _without_method(tree: Mapping[str, Any]) -> Config:
    """What everything but pretraining needs of a run: it opens where a user's own method is not at hand."""
    return Config.from_tree({name: group for name, group in tree.items() if name != "method"})
