"""`python -m tf_simclr.import_official`: weights of the authors' TF1 or TF2 release into a run folder."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import DoesNotFit, UsageError

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from tf_simclr import data, runs
    from tf_simclr.official import matching, tf1_names
    from tf_simclr.official import source as official
    from tf_simclr.reports import run_report
    from tf_simclr.runs import checkpoints, misfit
    from tf_simclr.runs import parts as parts_lib

COMMAND = Command(
    "import_official",
    "make a run folder of the authors' weights; the architecture is read from the variables",
    "imported data labels run".split(),
    {},
    found=("encoder", "head"),
)
IMAGENET_CLASSES = 1000


def import_official(config: Config) -> dict[str, Any]:
    source = official.OfficialCheckpoint(config.imported.source, ema=config.imported.ema)
    config = complete(config, source)
    parts = filled_parts(config, source)
    run = runs.RunFolder.open(config, COMMAND)
    result = save(run, parts, source)
    print_summary(run, source)
    return result


def complete(config: Config, source: official.OfficialCheckpoint) -> Config:
    """The configuration with what the variables say; data set and image size are guessed where not given."""
    _require_square_rgb(config)
    found = source.architecture()
    config = config.replace(**found.flags())
    if found.stem == "cifar" and config.data.image_size == 224:
        config = config.replace(image_size=32)
    if found.num_classes == IMAGENET_CLASSES and not config.data.dataset:
        config = config.replace(dataset="imagenet2012")
    layers = len(source.weights.projection_head.kernels)
    if config.labels.ft_proj_selector > layers:
        raise UsageError(
            f"--ft_proj_selector={config.labels.ft_proj_selector}: the projection head in "
            f"--source={config.imported.source} has {layers} layers"
        )
    return config


def _require_square_rgb(config: Config) -> None:
    wanted = config.data
    if wanted.channels != 3:
        raise UsageError(f"--channels={wanted.channels}: the authors' models take RGB; leave it out")
    if not isinstance(wanted.image_size, int):
        raise UsageError(
            f"--image_size={wanted.image_size}: the authors' models are of square images; give one number"
        )


def filled_parts(config: Config, source: official.OfficialCheckpoint) -> dict[str, tf.keras.layers.Layer]:
    """Encoder, projection head and (where there is one) classifier with the source's values.

    Raises:
        DoesNotFit: a variable of ours or theirs is left over or has another shape, with a table of them.
        UsageError: a variable holds a NaN.
    """
    classes = source.architecture().num_classes
    parts = parts_lib.new_parts(config, classes)
    pairs = matching.match(parts, source.weights)
    misfits = [_shapes(pair) for pair in pairs if not pair.fits]
    if misfits:
        flags = " ".join(f"--{name}={value}" for name, value in source.architecture().flags().items())
        raise DoesNotFit(
            f"--source={source.path} is nearest to {flags}, but {len(misfits)} of its variables do not fit",
            misfit.table(misfits, ours="needed"),
        )
    for pair in pairs:
        value = np.asarray(source.read(pair.theirs.name), np.float32)  # type: ignore[union-attr]
        if not np.isfinite(value).all():
            raise UsageError(f"--source={source.path}: {pair.theirs.name} is not finite")  # type: ignore[union-attr]
        pair.ours.assign(value)  # type: ignore[union-attr]
    return parts


def _shapes(pair: matching.Pair) -> tuple[str, str, str]:
    """A row of the table of misfits."""
    theirs = f"{pair.theirs.name} {list(pair.theirs.shape)}" if pair.theirs else "absent"
    return pair.name, theirs, str(pair.ours.shape.as_list()) if pair.ours is not None else "absent"


def save(
    run: runs.RunFolder, parts: Mapping[str, Any], source: official.OfficialCheckpoint
) -> dict[str, Any]:
    """Writes the checkpoint, data.json, result.json and report.html."""
    step = source.step()
    checkpoints.Checkpoints(run.checkpoints, tf.train.Checkpoint(**parts), keep=1).save(step)
    classes = parts["classifier"].num_classes if "classifier" in parts else 0
    names = _class_names(run.config, classes)
    run.write_json(
        "data.json", {"num_examples": None, "num_classes": classes, "class_names": names, "version": ""}
    )
    result = run.write_result(
        source=source.prefix,
        steps=step,
        num_eval_examples=0,
        images_per_second=None,
        wall_seconds=None,
        moving_averages=source.weights.averages,
        left_out=list(source.weights.left_out),
    )
    run_report.write_run_report(run.path)
    return result


def _class_names(config: Config, num_classes: int) -> list[str]:
    """The data set's, if it is on this machine and has as many classes; nothing is downloaded for them."""
    wanted = config.data
    try:
        if not wanted.dataset or not num_classes or not _is_here(wanted.dataset, wanted.data_dir):
            return []
        names = data.open_source(
            wanted.dataset, wanted.train_split, wanted.data_dir, wanted.labels
        ).class_names
    except UsageError:
        return []
    return list(names) if len(names) == num_classes else []


def _is_here(dataset: str, data_dir: str) -> bool:
    if dataset == "digits" or dataset.startswith("folder:"):
        return True
    try:
        return tfds.builder(dataset, data_dir=data_dir or None).is_prepared()
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError):
        return False


def print_summary(run: runs.RunFolder, source: official.OfficialCheckpoint) -> None:
    """Says what was found, what it lacked, and what was left out."""
    config, weights = run.config, source.weights
    found = source.architecture()
    flags = " ".join(f"--{name}={value}" for name, value in found.flags().items())
    layers = len(weights.projection_head.kernels)
    print(f"import_official: {source.prefix}, step {source.step():,}\n  {flags}")
    if weights.averages:
        only = "" if config.imported.ema else ", the file holds nothing else"
        print(f"  moving averages of the weights (ema_model/){only}")
    print(f"  projection head: {f'{layers} layers' if layers else 'none in it (version 1 files have none)'}")
    print(f"  classifier: {f'{found.num_classes} classes' if found.num_classes else 'none in it'}")
    print(f"  data set {config.data.dataset or 'not said'}, {config.data.image_size} px")
    print(f"  left out (all in result.json): {', '.join(_kinds(weights.left_out)) or 'nothing'}")
    print(f"  run folder {run.path}")


def _kinds(names: Sequence[str]) -> list[str]:
    """Optimizer slots and other copies by their number, the rest by name."""
    slots = [name for name in names if ".OPTIMIZER_SLOT" in name or tf1_names.is_slot(name)]
    rest = [name.replace("/.ATTRIBUTES/VARIABLE_VALUE", "") for name in names if name not in slots]
    copies = Counter(name.split("/")[0] for name in rest if "/" in name)
    kinds = [f"{len(slots)} optimizer slots"] if slots else []
    kinds += [f"{count} variables under {folder}/" for folder, count in copies.items()]
    return kinds + [name for name in rest if "/" not in name]


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, import_official, arguments)


if __name__ == "__main__":
    sys.exit(main())
