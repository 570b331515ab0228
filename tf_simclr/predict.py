"""`python -m tf_simclr.predict`: class and probability of every image, by a run's classifier or an export."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath, epy

from tf_simclr import cli, files
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.devices.cluster import this_worker
from tf_simclr.errors import UsageError, naming

with epy.lazy_imports():
    import numpy as np

    from tf_simclr import data, inputs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features
    from tf_simclr.runs import predictors

COMMAND = Command(
    "predict",
    "write class and probability of every image to a CSV, by the classifier of a run or of an export",
    "data predicting checkpoints devices".split(),
    {},
)
MOST_COUNTED = 10  # classes of the summary line


def predict(config: Config) -> collections.Counter[str]:
    """Writes --output and returns how many images are of each predicted class.

    A row an image, in the data set's order, of every split or of that of --eval_split: `file`, `class`,
    `probability`, and the next classes of --top_k as `class_2`, `probability_2`, ... A batch is held at once.
    """
    _require_complete(config)
    if not config.data.eval_split:
        config = config.replace(holdout=0.0)
    with _output(config.predicting.output) as file:
        strategies.set_up(config)
        sources = inputs.every_split(config)
        predictor = predictors.of_config(config)
        _print_plan(config, sources, predictor)
        training.print_census(*sources)
        counts = _write(config, predictor, sources, file)
        training.print_bad_images(*sources)
        return counts


def _require_complete(config: Config) -> None:
    """What can be missing, and what is for one process; asked without TensorFlow."""
    config.require_classifier()
    config.require_output()
    config.require_dataset()
    if this_worker(config.devices).count > 1:
        raise UsageError("predict is for one process: run it without TF_CONFIG")


@contextlib.contextmanager
def _output(path: str) -> Iterator[Any]:
    """The file of bytes to write; that it cannot be written is found out before anything is read.

    Raises:
        UsageError: it cannot.
    """
    if path == "-":
        with _standard_output() as rows:
            yield rows
        return
    if epath.Path(path).is_dir():
        raise UsageError(f"--output={path} is a folder; give a file, as {path}/predictions.csv")
    with contextlib.ExitStack() as stack:
        with files.writing(f"--output={path}"):
            file = stack.enter_context(files.whole_file(path))
            file.write(b"")
            file.flush()
        yield file


@contextlib.contextmanager
def _standard_output() -> Iterator[Any]:
    """Standard output for the rows alone: what is printed goes to standard error."""
    rows = sys.stdout.buffer
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield rows
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), rows.fileno())  # Python flushes it once more at its end
            raise UsageError("--output=-: nobody reads the rows any more") from error


def _print_plan(config: Config, sources: Sequence[data.Source], predictor: predictors.Predictor) -> None:
    count, splits = sum(source.num_examples for source in sources), "+".join(s.split for s in sources)
    print(
        f"predict: {config.data.dataset} {splits}, {count:,} images, {config.data.image_size} px\n"
        f"  {len(predictor.class_names):,} classes of {predictor.origin}; {config.devices.precision}\n"
        f"  batches of {config.data.eval_batch_size:,} on one replica",
        flush=True,
    )


def _write(
    config: Config, predictor: predictors.Predictor, sources: Iterable[data.Source], file: Any
) -> collections.Counter[str]:
    names = predictor.class_names
    top_k = min(config.predicting.top_k, len(names))
    later = [f"{column}_{rank}" for rank in range(2, top_k + 1) for column in ("class", "probability")]
    file.write(_csv([["file", "class", "probability", *later]]))
    counts: collections.Counter[str] = collections.Counter()
    unsure = 0
    for part in _classified(config, predictor, sources):
        best = np.argsort(-part.values, axis=1, kind="stable")[:, :top_k]  # [b, k]
        probability = np.take_along_axis(part.values, best, axis=1)
        file.write(_csv(_rows(part.ids, best, probability, names)))
        counts.update(names[number] for number in best[:, 0])
        unsure += int(np.sum(probability[:, 0] < 0.5))
    file.flush()
    print(_summary(counts, unsure, config.predicting.output))
    return counts


def _classified(
    config: Config, predictor: predictors.Predictor, sources: Iterable[data.Source]
) -> Iterator[features.Features]:
    """Probabilities of one batch after the other."""
    with naming("export" if config.predicting.export else "checkpoint", instead_of="checkpoint"):
        for source in sources:
            batches = inputs.evaluation_batches(config.data, source)
            yield from features.encode_batches(predictor.probabilities, batches)


def _rows(
    ids: np.ndarray, best: np.ndarray, probability: np.ndarray, names: Sequence[str]
) -> Iterator[list[str]]:
    for name, classes, shares in zip(ids, best, probability, strict=True):
        pairs = zip((names[number] for number in classes), map("{:.6f}".format, shares), strict=True)
        yield [name, *itertools.chain.from_iterable(pairs)]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _summary(counts: collections.Counter[str], unsure: int, output: str) -> str:
    images = sum(counts.values())
    shown = [f"{count:,} {name}" for name, count in counts.most_common(MOST_COUNTED)]
    more = f" and {len(counts) - MOST_COUNTED:,} more" if len(counts) > MOST_COUNTED else ""
    return (
        f"predict: {images:,} images ({', '.join(shown)}{more}), {unsure / images:.1%} of them below a "
        f"probability of 0.5; {output}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, predict, arguments)


if __name__ == "__main__":
    sys.exit(main())
