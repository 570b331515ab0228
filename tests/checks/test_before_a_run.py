"""`doctor --flagfile`: every finding speaks up where it should, and only there."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import encoded, write
from tests.small_runs import TINY
from tf_simclr import doctor
from tf_simclr.checks import (
    before_a_run,
    data_findings,
    device_findings,
    flag_findings,
    limits,
    planned,
    trial_findings,
    view_findings,
)
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.checks.trial import Trial
from tf_simclr.config import Config, flags
from tf_simclr.inputs import feeding

ROOT = Path(__file__).resolve().parents[2]
GOOD = {**TINY, "learning_rate": 1.6, "temperature": 0.5, "color_jitter_strength": 0.5}
Check = Callable[[Planned], Iterator[Finding]]


def plan(**changes: Any) -> Planned:
    return planned.of(Config("doctor").replace(**{**GOOD, **changes}))


def only(check: Check, run: Planned, level: str) -> Finding:
    (finding,) = check(run)
    assert finding.level == level, finding
    assert "\n" not in finding.line
    return finding


def test_a_good_plan_gives_nothing_but_notes(tmp_path: Path) -> None:
    run = plan(model_dir=str(tmp_path / "run"))
    found = [finding for check in before_a_run.CHECKS for finding in check(run)]
    assert {finding.level for finding in found} == {NOTE}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("check", "changes", "level", "words"),
    [
        (flag_findings.length, {"warmup_epochs": 10.0}, WASTED, "--warmup_epochs=10"),
        (flag_findings.length, {"train_steps": 30, "warmup_epochs": 1.0}, WARNING, "--warmup_epochs=1"),
        (flag_findings.length, {"train_steps": 0, "train_epochs": 0}, WASTED, "--train_epochs=0"),
        (flag_findings.batch, {"train_batch_size": 2000}, WASTED, "1024 will do"),
        (flag_findings.rate, {"learning_rate": 30.0}, WARNING, "--learning_rate=30"),
        (flag_findings.rate, {"learning_rate": 0.05}, WARNING, "--learning_rate_scaling=sqrt"),
        (flag_findings.rate, {"optimizer": "adam"}, WARNING, "of adam is 0.4"),
        (flag_findings.rate, {"optimizer": "momentum", "learning_rate": 2.0}, WARNING, "0.25 or less"),
        (flag_findings.temperature, {"temperature": 5.0}, WARNING, "--temperature=5"),
        (flag_findings.stem, {"stem": "imagenet"}, WARNING, "--stem=cifar"),
        (flag_findings.stem, {"stem": "cifar", "image_size": 224}, WARNING, "--stem=imagenet"),
        (data_findings.sizes, {"image_size": 32}, WARNING, "8 x 8 px in the middle, enlarged 4 times"),
        (view_findings.near_uniform, {"color_jitter_strength": 2.5}, WARNING, "--color_jitter_strength=2.5"),
    ],
)
def test_a_mistake_is_found(check: Check, changes: dict[str, Any], level: str, words: str) -> None:
    assert words in only(check, plan(**changes), level).line


def test_flagfiles_of_the_repository_raise_no_finding() -> None:
    checks = [flag_findings.length, flag_findings.rate, flag_findings.temperature, flag_findings.stem]
    images = {"imagenet": 1_281_167, "cifar10": 50_000, "digits": 1437}
    files = sorted((ROOT / "flags").glob("*/pretrain*.cfg"))
    assert len(files) > 20
    for file in files:
        _, config = flags.parse(doctor.COMMAND, [f"--flagfile={file}"])
        source = SimpleNamespace(num_examples=images[file.parent.name])
        run = Planned(config, source, None, None)
        assert [finding.line for check in checks for finding in check(run)] == [], file


def test_views_of_plain_images_are_a_waste(tmp_path: Path) -> None:
    grey = encoded(np.full([12, 12, 3], 100, np.uint8), "PNG")
    dataset = write(tmp_path, {f"{number}.png": grey for number in range(8)})
    finding = only(view_findings.near_uniform, plan(dataset=dataset, train_batch_size=8), WASTED)
    assert "--crop_area_min=0.08: 100.0 %" in finding.line


@pytest.fixture
def photos(tmp_path: Path) -> Callable[[dict[str, bytes]], Planned]:
    """A planned run on noise in train/many, train/few and test/many, with further files."""

    def make(more: dict[str, bytes], **changes: Any) -> Planned:
        places = [*(f"train/many/{i}" for i in range(12)), "train/few/12", "test/many/13", "test/few/14"]
        files = {f"{place}.png": encoded(noise(number), "PNG") for number, place in enumerate(places)}
        return plan(dataset=write(tmp_path, {**files, **more}), **{"train_batch_size": 8, **changes})

    return make


def noise(seed: int) -> np.ndarray:
    """A smooth random picture, uint8 [256, 192, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 255, [8, 6, 3], np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((192, 256), Image.Resampling.BICUBIC))


def test_bad_images_are_said_and_too_many_are_a_waste(photos: Callable[..., Planned], tmp_path: Path) -> None:
    more = {"train/many/cut.png": encoded(noise(0), "PNG")[:-40], "train/many/page.jpg": b"<html>"}
    run = photos(more, max_bad_images=2.0)
    line = only(data_findings.bad_images, run, WARNING).line
    assert "1 bad images by their heads, 1 of 14 by decoding them" in line
    assert list(data_findings.sizes(run))
    more.pop("train/many/page.jpg")
    (tmp_path / "train" / "many" / "page.jpg").unlink()
    finding = only(data_findings.bad_images, photos(more), WASTED)
    assert "cut.png: damaged PNG" in finding.line
    assert finding.figures["borne"] == 0


def test_uneven_classes_and_files_without_a_decoder_are_said(photos: Callable[..., Planned]) -> None:
    run = photos({"train/many/x.heic": b"heic", "train/few/y.heic": b"heic"})
    line = only(data_findings.classes, run, WARNING).line
    assert "12 images of many, 1 of few" in line
    assert "92 times of 100" in line
    held, left = data_findings.types(run)
    assert "13 png" in held.line
    assert (left.level, left.figures) == (WARNING, {"left_out": 2})
    assert "2 .heic (no decoder)" in left.line


def test_a_copy_in_the_test_split_is_found_however_it_was_saved(photos: Callable[..., Planned]) -> None:
    only(data_findings.duplicates, photos({}), NOTE)
    image = Image.fromarray(noise(3))
    smaller, file = image.resize((96, 128), Image.Resampling.LANCZOS), io.BytesIO()
    smaller.save(file, "JPEG", quality=75)
    finding = only(data_findings.duplicates, photos({"test/many/copy.jpg": file.getvalue()}), WARNING)
    assert "test/many/copy.jpg is train/many/3.png" in finding.line
    assert finding.figures["duplicates"] == 1


def test_parts_that_overlap_are_found() -> None:
    run = plan(train_split="train[:60%]", eval_split="train[50%:]")
    assert re.search(
        r"--eval_split=train\[50%:\]: 14\d of its images", only(data_findings.duplicates, run, WARNING).line
    )


def test_a_precision_without_units_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan(precision="bfloat16")
    monkeypatch.setattr(device_findings, "_cpu_flags", lambda: {"avx2"})
    assert "--precision=float32" in only(device_findings.precision, run, WARNING).line
    monkeypatch.setattr(device_findings, "_cpu_flags", lambda: {"avx2", "avx512_bf16"})
    assert not list(device_findings.precision(run))


def test_the_micro_batches_that_are_advised_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan(train_batch_size=256)
    monkeypatch.setattr(device_findings, "host_memory", lambda: int(0.6 * run.sizes.memory))
    line = only(device_findings.memory, run, WASTED).line
    chunks = int(re.search(r"--micro_batches=(\d+) makes it fit", line)[1])
    assert chunks > 1
    only(device_findings.memory, plan(train_batch_size=256, micro_batches=chunks), NOTE)
    monkeypatch.setattr(device_findings, "host_memory", lambda: run.sizes.memory + 1)
    only(device_findings.memory, run, WARNING)


def test_who_makes_the_views_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "=auto: the host" in only(device_findings.feed, plan(), NOTE).line  # no accelerator is here
    assert "=device: the device" in only(device_findings.feed, plan(feed="device"), NOTE).line
    for changes, shape in (({}, (8, 8, 3)), ({"image_size": 4, "cache_dataset": True}, (5, 5, 3))):
        run = plan(**changes)
        needed = feeding.bytes_of(shape, run.config, run.source, 1)
        for there, who in ((10 * needed, "device"), (10 * needed - 10, "host")):
            monkeypatch.setattr(feeding, "accelerator_memory", lambda there=there: there)
            assert f"--feed=auto: the {who} makes the views" in only(device_findings.feed, run, NOTE).line


def test_a_disk_without_room_for_the_checkpoints_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(model_dir=str(tmp_path / "not" / "yet"), keep_checkpoint_max=1, checkpoint_steps=1)
    one = only(device_findings.disk, run, NOTE).figures["needed_bytes"] / 2
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=int(1.5 * one)))
    assert "2 checkpoints take" in only(device_findings.disk, run, WASTED).line
    remote = dataclasses.replace(run, config=run.config.replace(model_dir="gs://bucket/run"))
    assert not list(device_findings.disk(remote))


@pytest.mark.parametrize(
    ("loss", "changes", "level"),
    [
        (2 * np.log(127), {}, NOTE),
        (2 * np.log(127) + 10, {}, WARNING),  # 5 a view, at temperature 0.5
        (float("nan"), {}, WASTED),
        (3.0, {"objective": "nt_logistic"}, NOTE),
    ],
)
def test_a_first_loss_stands_beside_that_of_knowing_nothing(
    loss: float, changes: dict[str, Any], level: str
) -> None:
    tried = Trial(64, 1e3, 1e3, {"contrastive_loss": float(loss)})
    finding = only(lambda run: trial_findings.first_loss(run, tried), plan(**changes), level)
    assert finding.figures.get("expected_loss", 9.688) == pytest.approx(9.688, abs=1e-3)


def test_a_host_that_is_slower_than_the_step_is_said() -> None:
    run = plan(train_steps=10)
    speed, slow = trial_findings.speed(run, Trial(64, 100.0, 400.0, {}))
    assert speed.figures["hours"] == pytest.approx(640 * (1 / 100 + 1 / 400) / 3600)
    assert (slow.level, slow.figures["idle"]) == (WARNING, 0.75)
    assert len(list(trial_findings.speed(run, Trial(64, 500.0, 400.0, {})))) == 1


@pytest.mark.slow
def test_the_command_tries_the_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {**GOOD, "temperature": 1.0, "model_dir": str(tmp_path / "run")}
    words = [f"--{name}={value}" for name, value in changes.items()]
    assert doctor.main([*words, "--trial_seconds=1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    figures = {key: value for one in said["findings"] for key, value in one["figures"].items()}
    assert not said["wasted"]
    assert figures["first_loss"] == pytest.approx(figures["expected_loss"], rel=0.05)
    assert figures["host_images_per_second"] > 0
    assert figures["step_images_per_second"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_would_be_wasted_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--{name}={value}" for name, value in {**GOOD, "train_batch_size": 2000}.items()]
    assert doctor.main([*words, "--trial_seconds=0"]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("wasted   --train_batch_size=2000: ")
    assert said.err.splitlines()[-1] == "doctor: such a run would be wasted: see above"


def test_the_page_says_the_limits() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    found = [one for one in vars(limits).values() if isinstance(one, limits.Limit)]
    assert len(found) > 15
    for one in found:
        assert f"| {one.bounds} | {one.value:g} | {one.source} |" in page
