"""A thousand command lines: each is refused in one line with exit code 2, or runs.

Runs means: the data are opened and the model is built, compiled and restored, up to the first step or
the first image to encode; a part of the cases goes on to the end of the command.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from export import saved_model
from tests.end_to_end.drawn_flags import COMMANDS, KINDS, Case, case, module_of, pairs_of
from tests.official.official_files import random_parts, tf1_names, write_tf1
from tests.small_runs import write_images
from tf_simclr import finetune, pretrain, training
from tf_simclr.evaluation import features

CASES = 28 * len(KINDS)  # 1,064
DRAWS = settings(
    max_examples=2,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SECONDS = 120  # for a case, which may be a sweep; the machine may be busy

LITTLE = """
import tensorflow as tf

def encoder(width=4):
    layers = [tf.keras.layers.Conv2D(width, 3, 2, padding="same"), tf.keras.layers.BatchNormalization()]
    images, pool = tf.keras.Input([None, None, 3]), tf.keras.layers.GlobalAveragePooling2D()
    return tf.keras.Sequential([images, *layers, pool])
"""
SMALL = {
    "dataset": "digits",
    "image_size": 8,
    "encoder": "little:encoder",
    "train_batch_size": 8,
    "train_steps": 1,
    "proj_out_dim": 8,
    "train_split": "train[:200]",
    "eval_split": "test[:20]",
}


class Reached(BaseException):
    """The command has done all that comes before the first step."""


class TooLong(BaseException):
    """A case hangs."""


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The flags that each command needs, in a folder with a run, a classifier and an official checkpoint."""
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        (folder / "little.py").write_text(LITTLE)
        small = [f"--{name}={value}" for name, value in SMALL.items()]
        assert pretrain.main([*small, "--model_dir=run"]) == 0
        texts = ["--method=clip", "--text_width=4", "--text_layers=1", "--text_heads=1", "--text_length=6"]
        assert pretrain.main([*small, *texts, "--model_dir=texts"]) == 0
        head = [
            "--train_batch_size=8",
            "--train_steps=1",
            "--train_split=train[:200]",
            "--eval_split=test[:20]",
        ]
        assert finetune.main(["--checkpoint=run", *head, "--model_dir=classifier"]) == 0
        parts = random_parts({"depth": 18, "width_multiplier": 0.03125, "stem": "cifar"}, None, 3)
        write_tf1(folder / "official" / "model.ckpt-3", tf1_names(parts))
        _write_rows(folder / "rows")
        write_images(folder / "images", {"train": 2, "test": 1})
        for name in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES"):  # which exporting sets
            patch.setenv(name, "")
        yield _settled()


def _write_rows(folder: Path) -> None:
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.cfg").write_text(f"# at: {number}\n--dataset=digits\n--seed={number}\n")
    (folder / "claims.json").write_text('{"picture": "bars", "claims": {"more is more": ["1 > 0"]}}')


def _settled() -> dict[str, dict[str, Any]]:
    training_flags = {name: SMALL[name] for name in ("train_batch_size", "train_steps")}
    splits = {name: SMALL[name] for name in ("train_split", "eval_split")}
    of_run = {"checkpoint": "run", **splits}
    found = dict.fromkeys(("knn", "transfer", "embed", "search", "figures", "transformation_probe"), of_run)
    found |= {name: {**of_run, **training_flags} for name in ("linear_eval", "finetune")}
    draws = {"draws_labels_per_class": "1", "num_draws": 1, "num_scratch_draws": 0}
    found |= {"pretrain": SMALL, "doctor": {**SMALL, "sizes": True, "devices": 1}}
    found |= {"label_efficiency": {**of_run, **training_flags, **draws}}
    found |= {name: {**of_run, "checkpoint": "classifier"} for name in ("evaluate", "predict")}
    found["predict"] = {**found["predict"], "dataset": "digits", "output": "out.csv"}
    found["distill"] = {**SMALL, "teacher": "classifier"}
    del found["distill"]["proj_out_dim"]  # a student's head is its teacher's
    found["open_set"] = {**SMALL, "known_classes": "0,1,2"}
    found["reproduce"] = {"table": "rows", "report_only": True}
    found["zero_shot"] = {**of_run, "checkpoint": "texts"}
    found["export"] = {"checkpoint": "run", "output_dir": "exports"}
    found["shrink"] = {"dataset": "folder:images"}
    found["import_official"] = {"source": "official/model.ckpt-3", "image_size": 8}
    return found


@pytest.mark.slow
def test_every_command_line_is_refused_in_one_line_or_runs(
    settled: dict[str, dict[str, Any]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: Counter[str] = Counter()
    pairs: dict[str, set[tuple[str, str]]] = {command: set() for command in COMMANDS}
    ran: Counter[str] = Counter()

    def of(number: int) -> Callable[[st.DataObject], None]:
        return lambda data: one(data, number)

    def one(data: st.DataObject, number: int) -> None:
        drawn = case(data.draw, number, settled)
        outcome = outcome_of(drawn, Path("runs") / str(sum(outcomes.values())), capfd)
        outcomes[outcome] += 1
        ran[drawn.command] += outcome != "refused"
        names = sorted(drawn.drawn)
        pairs[drawn.command] |= {(a, b) for a in names for b in names if a < b}

    for number in range(CASES // 2):  # each with the simplest values, and with drawn ones
        seed(number)(DRAWS(given(data=st.data())(of(number))))()
    print(dict(outcomes), dict(ran), file=sys.stderr)
    assert sum(outcomes.values()) >= CASES
    assert min(outcomes[kind] for kind in ("refused", "built", "finished")) >= 50
    assert min(ran[command] for command in COMMANDS) >= 3
    missing = {command: pairs_of(command) - pairs[command] for command in COMMANDS}
    assert not any(missing.values()), missing


def outcome_of(case: Case, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """`refused`, `built` or `finished`; fails where a case is none of them."""
    main = importlib.import_module(module_of(case.command)).main
    model_dir = [] if case.command in ("predict", "export") else [f"--model_dir={folder}"]
    model_dir = [f"--output_dir={folder}"] if case.command == "shrink" else model_dir
    arguments = [*model_dir, *case.arguments]
    capfd.readouterr()
    began = time.perf_counter()
    try:
        with _limited(), pytest.MonkeyPatch.context() as patch:
            if not case.whole:
                patch.setattr(training, "fit", _reach)
                patch.setattr(features, "encode_batches", _reach)
                patch.setattr(saved_model, "export_run", _reach)
            code = main(arguments)
    except Reached:
        return "built"
    except (Exception, TooLong) as error:
        raise AssertionError(f"{time.perf_counter() - began:.1f} s, {case.command} {arguments}") from error
    if code == 0 or (case.command, code) == ("doctor", 1):  # a check that fails is an answer
        return "finished"
    said = capfd.readouterr().err.splitlines()
    place = [line for line in said if line.startswith(f"{case.command}: ")]
    assert code == 2, (code, case.command, arguments)
    assert len(place) == 1, (said, case.command, arguments)
    assert all(line.startswith("  ") for line in said[said.index(place[0]) + 1 :]), said
    return "refused"


def _reach(*_: Any, **__: Any) -> Any:
    raise Reached


class _limited:
    """Ends what takes longer than SECONDS."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self._before)


def _too_long(*_: object) -> None:
    raise TooLong
