"""The benchmarks run, measure what they say, and never assert a ratio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import accelerator, figure, textbook
from benchmarks.contest import Claim, Contest, batches_turn, take_turns
from tf_simclr.models import ResNet
from tf_simclr.objectives import nt_xent

ROOT = Path(__file__).resolve().parents[2]


def users() -> dict[str, str]:
    """The environment without what importing tf_simclr has set in this process."""
    return {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}


def test_turns_are_taken_in_every_round_by_all_and_the_first_does_not_count() -> None:
    order: list[str] = []
    seconds = take_turns({name: lambda name=name: order.append(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert {name: len(each) for name, each in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_an_iterators_start_its_first_batch_and_its_full_buffers_do_not_count() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        time.sleep(0.3)
        for number in range(1000):
            made.append(number)
            yield number

    batches = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int32))
    turn = batches_turn(batches.prefetch(5), 3, lambda iterator: seen.append(int(next(iterator))), settle=0.2)
    seen: list[int] = []
    [seconds] = take_turns({"a": turn}, rounds=1)["a"]
    assert seconds < 0.2
    assert seen == [1, 2, 3] * 2
    iterator = turn.prepare()
    before = len(made)
    turn.run(iterator)
    time.sleep(0.1)
    assert len(made) - before == 3


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0], "textbook": [3.0, 4.0, 4.0]}
    claims = [Claim("ours", "textbook", 1.5), Claim("ours", "textbook", 2.5)]
    contest = Contest("subject", seconds, amount=8, unit="images", claims=claims)
    assert contest.ratio(claims[0]) == 2.0
    text = contest.table()
    assert "2.00 (asked for: 1.5; holds)" in text
    assert "2.00 (asked for: 2.5; FALLS SHORT)" in text
    assert [claim["ratio"] for claim in contest.as_json()["claims"]] == [2.0, 2.0]


def test_the_textbooks_loss_is_the_same_loss() -> None:
    z = tf.random.stateless_normal([32, 16], [0, 0])
    np.testing.assert_allclose(textbook.nt_xent(z), nt_xent(z, textbook.TEMPERATURE).loss, rtol=1e-5)


def test_the_textbooks_encoder_is_as_large_as_ours() -> None:
    ours, theirs = ResNet(18, 0.25, stem="cifar"), textbook.resnet18(0.25)
    assert theirs.count_params() == ours.count_params()
    assert theirs.output_shape[-1] == ours.output_dim


def test_arithmetic_is_counted_as_the_literature_has_it() -> None:
    cost = accelerator.cost(ResNet(50), 224)
    assert cost.macs == pytest.approx(4.09e9, rel=0.01)
    assert cost.gmacs_of_image() == pytest.approx(24.5, rel=0.01)
    assert accelerator.cost(ResNet(18, stem="cifar"), 32).macs == pytest.approx(0.555e9, rel=0.02)


def test_traffic_is_what_a_view_moves_without_the_weights() -> None:
    """A convolution 3 to 4 channels and ReLU, by hand: in and out of each, once."""
    layers = [tf.keras.Input([8, 8, 3]), tf.keras.layers.Conv2D(4, 3, padding="same", use_bias=False)]
    encoder = tf.keras.Sequential([*layers, tf.keras.layers.ReLU()])
    cost = accelerator.cost(encoder, 8)
    assert cost.elements == 64 * (3 + 4) + 64 * (4 + 4)


@pytest.mark.slow
def test_an_accelerators_step_is_timed_in_rounds_and_its_rates_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accelerator, "take_turns", lambda turns: take_turns(turns, rounds=2))
    encoders = []

    def encoder() -> ResNet:
        encoders.append(ResNet(18, 0.0625, stem="cifar"))
        return encoders[-1]

    contest = accelerator.contest("tiny", encoder, batch_size=4, side=8, steps=2)
    assert encoders[0].compute_dtype == "bfloat16"
    assert (contest.amount, len(contest.seconds["train step"])) == (8, 2)
    rates = accelerator.rates(contest, accelerator.Cost(macs=1e9, elements=3e9))
    speed = 8 / np.median(contest.seconds["train step"])
    assert rates["gmacs_of_image"] == 6  # two views, thrice
    assert rates["teraflops"] == pytest.approx(2 * 6e9 * speed / 1e12)
    assert rates["terabytes_a_second"] == pytest.approx(2 * 18e9 * speed / 1e12)


def test_the_figure_shows_every_claim(tmp_path: Path) -> None:
    contest = Contest("subject", {"a": [1.0], "b": [2.0]}, 1, "runs", [Claim("a", "b", 1.5)])
    (tmp_path / "one.json").write_text(json.dumps({"contests": [contest.as_json()]}))
    claims = figure.claims_of(tmp_path)
    assert [(claim["subject"], claim["ratio"]) for claim in claims] == [("subject", 2.0)]
    figure.draw(claims, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def run(benchmark: str, tmp_path: Path, *arguments: str) -> dict[str, object]:
    file = tmp_path / f"{benchmark}.json"
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "--rounds=1", f"--json={file}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=users(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(file.read_text())


def test_benchmarks_find_keras_2_on_any_tensorflow() -> None:
    program = "from benchmarks.train_step import augment; augment.ColorDistortion()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=users(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "arguments"),
    [
        ("nt_xent", ["--images=256", "--large=512", "--block_size=64"]),
        ("optimizer", []),
        ("train_step", ["--width=0.25"]),
        ("feed", []),
        ("input_pipeline", ["--count=64"]),
    ],
)
def test_a_benchmark_runs(benchmark: str, arguments: list[str], tmp_path: Path) -> None:
    content = run(benchmark, tmp_path, *arguments)
    assert content["contests"]


@pytest.mark.slow
def test_the_start_is_measured_to_the_first_step(shared: Callable[[str], Path], tmp_path: Path) -> None:
    content = run("startup", tmp_path, f"--data_dir={shared('data/tfds')}")
    (contest,) = content["contests"]  # type: ignore[misc]
    assert min(contest["seconds"]["ours"]) > 1


def test_the_table_of_methods_is_that_of_the_results() -> None:
    found = json.loads((ROOT / "results" / "methods_digits.json").read_text())
    page = (ROOT / "docs" / "methods.md").read_text()
    for name, rows in found["methods"].items():
        columns = [[row[title] for row in rows] for title in rows[0]]
        cells = [f"{np.mean(column):.1f} ± {np.std(column, ddof=1):.1f}" for column in columns]
        cells += [f"{found['costs'][name][what]:.2f}" for what in ("time", "memory")]
        assert f"| {name} | {' | '.join(cells)} |" in page
        gains = np.subtract(*columns[:2])  # beyond the same encoder untrained, at 2 labels a class
        assert len(gains) == 3
        assert gains.min() > 25
