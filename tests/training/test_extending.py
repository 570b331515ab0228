"""--extend: a run that goes on to a later end, as one would have it, and what is refused."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_runs import Make, assert_same_run, folder_of, result_of, rows_of
from tests.training.test_resuming import copy_of
from tf_simclr import distill, finetune, label_efficiency, linear_eval, pretrain
from tf_simclr.config import Config, Steps, flags, stored
from tf_simclr.errors import Interrupted, UsageError
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.optimizers import WarmUpCosine, scaled_learning_rate
from tf_simclr.runs import prefixes
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training import between_epochs, callbacks, plan

LONGER: dict[str, Any] = {"train_steps": 9, "extend": True}


class StopAt7(callbacks.Saver):
    def on_steps(self, before: int, step: int, logs: dict[str, float]) -> None:
        if step == 7:
            signal.raise_signal(signal.SIGTERM)
        super().on_steps(before, step, logs)


def settings_of(config: Config) -> dict[str, Any]:
    return json.loads((folder_of(config) / "config.json").read_text())


def rates_of(config: Config) -> list[tuple[int, float]]:
    """The rate of the last step of each row of metrics.csv."""
    rows = rows_of(folder_of(config) / "metrics.csv")
    return [(int(row["step"]), float(row["learning_rate"])) for row in rows]


@pytest.fixture(scope="module")
def extended(tiny: Make, pretrained: Config) -> Config:
    """The tiny pretraining of 6 steps, trained on to 9."""
    config = copy_of(pretrained, tiny())
    pretrain.pretrain(config.replace(**LONGER))
    return config


@pytest.mark.slow
def test_an_extended_run_ends_its_cosine_at_the_new_end(extended: Config, pretrained: Config) -> None:
    train = pretrained.optimization
    peak = scaled_learning_rate(train.learning_rate, train.train_batch_size, train.learning_rate_scaling)
    shorter, longer = WarmUpCosine(peak, 6), WarmUpCosine(peak, 9)
    before, after = rates_of(pretrained), rates_of(extended)
    assert after[: len(before)] == before
    assert [step for step, _ in after] == sorted({step for step, _ in after})
    assert after[-1][0] == 9
    assert before[-1][1] == pytest.approx(float(shorter(5)), rel=1e-5)
    assert after[-1][1] == pytest.approx(float(longer(8)), rel=1e-5)
    assert result_of(extended)["steps"] == 9
    assert prefixes.step_of(prefixes.find(extended.run.model_dir)) == 9


def test_an_extended_run_says_how_it_came_to_its_length(extended: Config) -> None:
    settings = settings_of(extended)
    assert settings["extended"] == [[6, 6, 9]]
    assert settings["optimization"]["train_steps"] == 9
    assert not settings["extension"]["extend"]
    assert stored.read_config(folder_of(extended)).extended == ((6, 6, 9),)  # type: ignore[arg-type]
    for again in (LONGER, {"train_steps": 9}):  # the same command, and that of its flags.cfg
        run = RunFolder.open(extended.replace(**again), pretrain.COMMAND)
        assert settings_of(extended) == settings
        assert plan._start(run) == "this run's own checkpoint; at step 6 extended from 6 to 9"


def test_a_longer_run_is_refused_with_the_commands_that_go_on(pretrained: Config) -> None:
    with pytest.raises(UsageError, match=r"holds a run of 6 steps, you ask for 9: add --extend") as error:
        RunFolder.open(pretrained.replace(train_steps=9), pretrain.COMMAND)
    pretrained = pretrained.replace(stem="cifar")  # of 8 px, as a --checkpoint says it
    assert "\n" not in str(error.value)
    longer, anew = (shlex.split(line, comments=True) for line in error.value.details)
    assert longer[:3] == ["python", "-m", "tf_simclr.pretrain"]
    parsed = flags.parse(pretrain.COMMAND, longer[3:])[1]
    assert parsed == pretrained.replace(**LONGER, stem="auto")
    parsed = flags.parse(pretrain.COMMAND, anew[3:])[1]
    folder = pretrained.run.model_dir
    assert parsed == pretrained.replace(train_steps=9, checkpoint=folder, model_dir="NEW")


def test_the_classifier_of_a_linear_evaluation_begins_anew_from_the_same_encoder(
    tiny: Make, pretrained: Config
) -> None:
    config = tiny("linear_eval", checkpoint=pretrained.run.model_dir, stem="cifar")
    RunFolder.open(config, linear_eval.COMMAND)
    shutil.copytree(folder_of(pretrained) / "checkpoints", folder_of(config) / "checkpoints")
    shutil.copy(folder_of(pretrained) / "data.json", folder_of(config))
    with pytest.raises(UsageError, match="add --extend") as error:
        RunFolder.open(config.replace(train_steps=9), linear_eval.COMMAND)
    anew = flags.parse(linear_eval.COMMAND, shlex.split(error.value.details[1], comments=True)[3:])[1]
    assert anew == config.replace(train_steps=9, model_dir="NEW")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_steps": 4, "extend": True}, r"is of 6 steps, --train_steps=4 makes 4"),
        ({"train_epochs": 7, "extend": True}, r"is of 6 steps, --train_epochs=7 makes 6"),
        ({"train_steps": 4}, r"other flags: --train_steps=4 \(the run has 6\); give another folder"),
        ({**LONGER, "temperature": 0.7}, r"other flags: .*--temperature=0.7"),
        ({**LONGER, "model_dir": "NOWHERE"}, r"--extend: --model_dir=NOWHERE holds no run to train longer"),
    ],
)
def test_what_is_no_longer_run_is_refused_in_one_line(
    pretrained: Config, changes: dict[str, Any], message: str
) -> None:
    before = settings_of(pretrained)
    with pytest.raises(UsageError, match=message) as error:
        RunFolder.open(pretrained.replace(**changes), pretrain.COMMAND)
    assert "\n" not in str(error.value)
    assert not error.value.details
    assert settings_of(pretrained) == before
    assert not Path("NOWHERE").exists()


def test_a_length_in_epochs_is_compared_in_steps(tiny: Make, pretrained: Config) -> None:
    config = copy_of(pretrained, tiny())
    by_epochs = config.replace(train_steps=0, train_epochs=2, extend=True)
    run = RunFolder.open(by_epochs, pretrain.COMMAND)
    assert run.config.extended == ((6, 6, by_epochs.steps(1437).total),)
    assert not run.config.extension.extend
    again = RunFolder.open(by_epochs.replace(train_epochs=3), pretrain.COMMAND)
    assert again.config.extended[1] == (6, by_epochs.steps(1437).total, 3 * 1437 // 64 + 1)


def test_weights_chosen_on_validation_are_no_end_to_go_on_from(tiny: Make, pretrained: Config) -> None:
    config = copy_of(pretrained, tiny("finetune", select_on_validation=True))
    (folder_of(config) / "config.json").write_text(config.to_json(finetune.COMMAND.stored_groups))
    with pytest.raises(UsageError, match="weights that --select_on_validation chose"):
        RunFolder.open(config.replace(**LONGER), finetune.COMMAND)
    for step in ("ckpt-6", "ckpt-3"):  # what has not ended has
        for path in (folder_of(config) / "checkpoints").glob(f"{step}.*"):
            path.unlink()
        if step == "ckpt-6":
            assert RunFolder.open(config.replace(**LONGER), finetune.COMMAND).config.extended == ((3, 6, 9),)


def test_a_sweep_and_a_command_that_trains_nothing_of_its_own_are_not_extended(tiny: Make) -> None:
    with pytest.raises(UsageError, match=r"--extend trains one run longer, not a --sweep"):
        tiny("finetune", sweep=True, extend=True)
    config = tiny("label_efficiency")
    run = RunFolder.open(config, label_efficiency.COMMAND)
    run.write_json("result.json", {})
    run.write_json("data.json", {"num_examples": 100})
    with pytest.raises(UsageError, match=r"other flags: --train_steps=9") as error:
        RunFolder.open(config.replace(train_steps=9), label_efficiency.COMMAND)
    assert not error.value.details


@pytest.mark.parametrize(
    ("extended", "epochs"),
    [(((4, 4, 6),), [2]), (((3, 4, 6),), []), ((), [])],
    ids=["had ended", "was interrupted", "is as long as ever"],
)
def test_what_a_method_does_between_epochs_is_made_up_for(
    extended: tuple[tuple[int, int, int], ...], epochs: list[int]
) -> None:
    """At its end a run does nothing for an epoch that it does not have."""
    acted: list[int] = []

    class Acting(SimCLR):
        def between_epochs(self, model: Any, batches: Callable[[], Any], epoch: int) -> None:
            acted.append(epoch)

    steps = Steps(total=6, warmup=0, per_epoch=2, between_checkpoints=1)
    config = Config("pretrain", method=Acting(), extended=extended)
    (watcher,) = between_epochs.watchers(config, None, None, steps)(4)  # type: ignore[arg-type]
    watcher.on_train_begin()
    assert acted == epochs


@pytest.mark.slow
def test_an_extended_run_that_was_stopped_equals_an_undisturbed_one(
    tiny: Make, pretrained: Config, extended: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copy_of(pretrained, tiny())
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["tf_simclr.training.fit"], "Saver", StopAt7)
        with pytest.raises(Interrupted, match="step 7 of 9"):
            pretrain.pretrain(config.replace(**LONGER))
    pretrain.pretrain(config.replace(**LONGER))
    assert_same_run(folder_of(config), folder_of(extended))
    assert settings_of(config)["extended"] == settings_of(extended)["extended"]
    for step in (7, 9):  # as a kill before the first checkpoint of the extension would leave it
        for path in (folder_of(config) / "checkpoints").glob(f"ckpt-{step}.*"):
            path.unlink()
    pretrain.pretrain(config.replace(**LONGER))
    assert_same_run(folder_of(config), folder_of(extended))
    assert settings_of(config)["extended"] == settings_of(extended)["extended"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["linear_eval", "finetune", "distill"])
def test_what_trains_on_labels_is_extended_likewise(command: str, tiny: Make, pretrained: Config) -> None:
    run = {
        "linear_eval": linear_eval.linear_eval,
        "finetune": finetune.finetune,
        "distill": distill.distill,
    }[command]
    nesterov = {"optimizer": "nesterov", "weight_decay": 0.0}
    options: dict[str, Any] = {**nesterov, "checkpoint": pretrained.run.model_dir}
    if command == "distill":
        teacher = tiny("linear_eval", **options, augment=False, train_steps=2)
        linear_eval.linear_eval(teacher)
        options = {**nesterov, "teacher": teacher.run.model_dir}
    config = tiny(command, **options)
    run(config)
    data = (folder_of(config) / "data.json").read_text()
    with pytest.raises(UsageError, match="add --extend"):
        run(config.replace(train_steps=9))
    run(config.replace(**LONGER))
    assert settings_of(config)["extended"] == [[6, 6, 9]]
    assert rates_of(config)[-1][0] == result_of(config)["steps"] == 9
    assert (folder_of(config) / "data.json").read_text() == data


@pytest.mark.slow
def test_every_seed_is_extended_and_one_that_had_not_begun_begins(tiny: Make, pretrained: Config) -> None:
    config = tiny("linear_eval", checkpoint=pretrained.run.model_dir, augment=False, seeds="0,1")
    linear_eval.linear_eval(config)
    shutil.rmtree(folder_of(config) / "seed_1")
    linear_eval.linear_eval(config.replace(**LONGER))
    steps = [json.loads((folder_of(config) / f"seed_{n}/result.json").read_text())["steps"] for n in (0, 1)]
    assert steps == [9, 9]
    lengths = [
        json.loads((folder_of(config) / f"seed_{n}/config.json").read_text()).get("extended") for n in (0, 1)
    ]
    assert lengths == [[[6, 6, 9]], None]
    assert np.isfinite(result_of(config)["top1"])
