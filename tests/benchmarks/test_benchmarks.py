"""The benchmarks run, measure what they say, and never assert a ratio."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import accelerator, figure, roofline, summary, textbook
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
    assert cost.fused == 64 * (3 + 4)


def test_a_limit_is_what_takes_longer_at_the_rates_of_the_round() -> None:
    """A turn of the probes: 2 * 4^3 * 3 operations, and 3 numbers of 4 bytes, 10 times, thrice."""
    line = roofline.Roofline("float32", side=4, numbers=10, repeats=3)
    seconds = {"matrix products": [1.0, 2.0], "sums": [4.0, 4.0]}
    assert line.work() == roofline.Work(384.0, 360.0)
    assert line.limit(seconds, roofline.Work(3840.0, 360.0)) == [10.0, 20.0]
    assert line.limit(seconds, roofline.Work(384.0, 3600.0)) == [40.0, 40.0]
    rates = line.rates(seconds, roofline.Work(384.0, 360.0))
    assert (rates["flop_a_second"], rates["bytes_a_second"]) == (256.0, 90.0)
    assert rates["bound_by"] == "memory"


def test_a_rooflines_turns_do_all_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of a matrix whose rows add up to 1 stay as large; each sum is added."""
    products, sums = roofline.Roofline("bfloat16", side=64, numbers=100, repeats=3).turns().values()
    assert 0.1 < float(products()) * 64 < 10
    assert [float(sums()), float(sums())] == [3.0, 6.0]


def test_a_share_of_the_limit_stands_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    line = roofline.Roofline("float32", side=64, numbers=1000)
    seconds = {"step": [0.4], "matrix products": [0.1], "sums": [1e-9]}
    monkeypatch.setattr(roofline, "take_turns", lambda turns: {name: seconds[name] for name in turns})
    contest, rates = roofline.contest(
        "subject",
        {"step": print},
        roofline.Work(line.work().flop, 0.0),
        line,
        amount=1,
        unit="steps",
        claims=[],
        of_limit=["step"],
    )
    assert contest.ratio(Claim("step", roofline.LIMIT)) == pytest.approx(0.25)
    assert rates["bound_by"] == "arithmetic"


def test_least_work_of_a_step_is_that_of_its_convolutions() -> None:
    work = accelerator.Cost(macs=1e9, elements=3e9, fused=1e6).work(10, 2)
    assert (work.flop, work.bytes) == (10 * 6 * 2e9, 10 * 6 * 2e6)  # two views, thrice


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
        ("train_step", ["--width=0.25", "--images=8", "--encoders=tiny", "--device=cpu"]),
        ("feed", []),
        ("input_pipeline", ["--count=64"]),
        ("host_scaling", ["--count=64", "--image_size=32"]),
        ("scaling", ["--batch_size=4", "--width=0.0625", "--replicas=2,4", "--steps=1"]),
        ("shrink", ["--count=64", "--image_size=32"]),
    ],
)
def test_a_benchmark_runs(benchmark: str, arguments: list[str], tmp_path: Path) -> None:
    content = run(benchmark, tmp_path, *arguments)
    assert content["contests"]
    for contest in content["contests"]:  # type: ignore[attr-defined]
        assert all(claim["ratio"] > 0 for claim in contest["claims"])


@pytest.mark.slow
def test_one_step_is_the_same_step_compiled() -> None:
    command = [sys.executable, "-m", "benchmarks.agreement", "--images=8"]
    done = subprocess.run(command, cwd=ROOT, env=users(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "agreement holds" in done.stdout


@pytest.mark.slow
def test_the_script_for_a_gpu_does_its_parts_goes_on_after_one_that_fails_and_sums_up(tmp_path: Path) -> None:
    """Tiny, on a CPU; the host's rate is asked of a folder that is not there, and must fail alone."""
    out = tmp_path / "out"
    environment = {**users(), "TINY": "1", "PYTHON": sys.executable, "IMAGES": str(tmp_path / "nowhere")}
    parts = ["host_scaling", "pilot", "pretrain", "linear_eval"]
    command = ["sh", "benchmarks/on_gpu.sh", str(out), *parts]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ends = {part: int((out / f"{part}.part").read_text().split()[0]) for part in parts}
    assert ends["host_scaling"] > 0
    assert {ends[part] for part in parts if part != "host_scaling"} == {0}, done.stdout
    summary = (out / "summary.md").read_text()
    assert "| host_scaling | FAILED (1) |" in summary
    top1 = json.loads((out / "linear_eval" / "result.json").read_text())["top1"]
    assert re.search(rf"\| linear_eval \| done \|.*top1 {top1:,.5g} \|", summary)


def test_a_part_out_of_time_is_said_to_be(tmp_path: Path) -> None:
    for name, status in (("parity", 124), ("tests", 0)):
        (tmp_path / f"{name}.part").write_text(f"{status} 12\n")
        (tmp_path / f"{name}.log").write_text("collected\n7 passed\n")
    page = "\n".join(summary.page(tmp_path))
    assert "| parity | OUT OF TIME | 12 s | 7 passed |" in page
    assert "| tests | done | 12 s | 7 passed |" in page


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
