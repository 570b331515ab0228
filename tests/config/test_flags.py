"""Precedence, mistakes and round trips of flags and config."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from tf_simclr import embed, evaluate, finetune, knn, label_efficiency, linear_eval, pretrain, transfer
from tf_simclr.config import Config, flags, stored
from tf_simclr.config import config as config_lib
from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method
from tf_simclr.options import option

COMMANDS = [
    module.COMMAND for module in (pretrain, linear_eval, finetune, knn, label_efficiency, transfer, embed)
]


def parse(command: flags.Command, *arguments: str) -> Config:
    return flags.parse(command, arguments)[1]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    stored = Config("pretrain").replace(
        dataset="digits",
        image_size=16,
        resnet_depth=18,
        width_multiplier=0.25,
        learning_rate=7.0,
        train_epochs=3,
    )
    (tmp_path / "config.json").write_text(stored.to_json())
    return tmp_path


def test_defaults_are_each_protocol_of_the_paper() -> None:
    pretraining = parse(pretrain.COMMAND).optimization
    assert (pretraining.optimizer, pretraining.learning_rate, pretraining.weight_decay) == ("lars", 0.3, 1e-6)
    assert (pretraining.train_batch_size, pretraining.warmup_epochs) == (4096, 10)
    linear = parse(linear_eval.COMMAND).optimization
    assert (linear.optimizer, linear.learning_rate, linear.train_epochs) == ("nesterov", 0.1, 90)
    assert (linear.weight_decay, linear.warmup_epochs) == (0, 0)
    tuned = parse(finetune.COMMAND).optimization
    assert (tuned.optimizer, tuned.learning_rate, tuned.train_epochs) == ("nesterov", 0.05, 60)
    assert parse(finetune.COMMAND).labels.zero_init_logits_layer
    transferred = parse(transfer.COMMAND).data
    assert (transferred.center_crop_fraction, transferred.resize_first) == (1, True)  # App. B.8


def test_command_line_beats_flagfile_beats_checkpoint_beats_default(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "f.cfg").write_text("# a comment\n--image_size=24\n--momentum=0.5\n")
    config = parse(
        linear_eval.COMMAND,
        f"--checkpoint={run_folder}",
        f"--flagfile={tmp_path / 'f.cfg'}",
        "--momentum=0.7",
    )
    assert config.optimization.momentum == 0.7  # command line over flagfile
    assert config.data.image_size == 24  # flagfile over checkpoint
    assert (config.data.dataset, config.encoder.resnet_depth) == ("digits", 18)  # checkpoint over default
    assert (config.optimization.learning_rate, config.optimization.train_epochs) == (
        0.1,
        90,
    )  # never inherited


def test_evaluate_takes_the_crop_of_the_run_that_trained_the_classifier(tmp_path: Path) -> None:
    stored = Config("finetune").replace(dataset="digits", center_crop_fraction=0.5, resize_first=True)
    (tmp_path / "config.json").write_text(stored.to_json())
    view = parse(evaluate.COMMAND, f"--checkpoint={tmp_path}").data
    assert (view.center_crop_fraction, view.resize_first) == (0.5, True)
    view = parse(evaluate.COMMAND, f"--checkpoint={tmp_path}", "--center_crop_fraction=0.75").data
    assert (view.center_crop_fraction, view.resize_first) == (0.75, True)
    view = parse(knn.COMMAND, f"--checkpoint={tmp_path}").data  # k-NN's protocol is its own
    assert (view.center_crop_fraction, view.resize_first) == (0, False)


def test_a_sweep_stands_for_its_chosen_run(run_folder: Path) -> None:
    kept = Config("finetune").replace(dataset="digits", batch_norm_decay=0.95)
    (run_folder / "chosen").mkdir()
    (run_folder / "chosen" / "config.json").write_text(kept.to_json())
    assert stored.run_of(str(run_folder)) == run_folder / "chosen"
    assert stored.stored_config(str(run_folder)) == kept
    (run_folder / "checkpoints").mkdir()
    assert stored.run_of(str(run_folder)) == run_folder


def test_a_checkpoint_that_cannot_be_reached_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable(Exception):
        """TensorFlow's errors of remote files are no OSError."""

    def fail(path: object) -> bool:
        raise Unreachable("File system scheme 's3' not implemented")

    monkeypatch.setattr(type(epath.Path("/")), "is_dir", fail)
    with pytest.raises(UsageError, match=r"--checkpoint=s3://b/run: cannot be read .File system scheme"):
        stored.stored_config("s3://b/run")


def test_the_order_of_flag_and_flagfile_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "f.cfg").write_text("--train_epochs=60\n")
    files = (["--flagfile", str(tmp_path / "f.cfg")], [f"--flagfile={tmp_path / 'f.cfg'}"])
    for file in files:
        for arguments in ([*file, "--train_epochs=5"], ["--train_epochs=5", *file]):
            assert parse(pretrain.COMMAND, *arguments).optimization.train_epochs == 5


def test_auto_stem_follows_the_checkpoint_not_the_new_image_size(run_folder: Path) -> None:
    assert parse(knn.COMMAND, f"--checkpoint={run_folder}", "--image_size=96").stem == "cifar"


def test_a_square_is_a_number_and_another_size_its_text() -> None:
    sizes = {"96": 96, "96x96": 96, "96x160": "96x160", "0096x160": "96x160"}
    for text, value in sizes.items():
        config = parse(pretrain.COMMAND, f"--image_size={text}")
        assert config.data.image_size == value
        assert json.loads(config.to_json())["data"]["image_size"] == value
    assert parse(pretrain.COMMAND, "--image_size=32x160").stem == "cifar"
    assert parse(pretrain.COMMAND, "--image_size=64x160").stem == "imagenet"


def test_size_and_channels_come_from_the_checkpoint(tmp_path: Path) -> None:
    kept = Config("pretrain").replace(dataset="digits", image_size="8x16", channels=1)
    (tmp_path / "config.json").write_text(kept.to_json())
    config = parse(knn.COMMAND, f"--checkpoint={tmp_path}")
    assert (config.data.image_size, config.data.channels) == ("8x16", 1)
    assert parse(knn.COMMAND, f"--checkpoint={tmp_path}", "--image_size=9x9").data.image_size == 9
    with pytest.raises(UsageError, match=r"is --channels=1; you asked for --channels=3"):
        parse(knn.COMMAND, f"--checkpoint={tmp_path}", "--channels=3")


def test_contradicting_the_checkpoints_architecture_is_an_error(run_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"resnet_depth=18.*asked for --resnet_depth=50"):
        parse(knn.COMMAND, f"--checkpoint={run_folder}", "--resnet_depth=50")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_such_flag=1"], "no_such_flag"),
        (["--datset=digits"], "Did you mean: dataset"),
        (["--seed=x"], "--seed=x: give a whole number"),
        (["--temperature=x"], "--temperature=x: give a number"),
        (["--use_blur=x"], "--use_blur=x: give true or false"),
        (["--seed"], "--seed; give --seed=VALUE"),
        (["--nouse_blur=1"], "--nouse_blur=1 does not take an argument"),
        (["--temperature=0"], "--temperature=0.0: must be at least 0.0001"),
        (["--crop_area_min=0"], "--crop_area_min=0.0: must be greater than 0"),
        (["--resnet_depth=19"], "choose one of 18, 34, 50"),
        (["--image_size=wide"], "--image_size=wide: give a number of pixels, or HEIGHTxWIDTH"),
        (["--image_size=3x96"], "--image_size=3x96: must be at least 4"),
        (["--channels=13"], "--channels=13: choose one of 1, 3"),
        (["stray"], "stray"),
        (["--flagfile=/no/such/file"], "/no/such/file"),
        (["--checkpoint=/no/such/run"], "config.json is missing"),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        parse(pretrain.COMMAND, *arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_flags_cfg_repeats_the_run(command: flags.Command, tmp_path: Path) -> None:
    config = parse(command, "--dataset=digits", "--image_size=20", "--seed=3", "--nocache_dataset")
    (tmp_path / "flags.cfg").write_text(flags.flagfile(command, config))
    assert parse(command, f"--flagfile={tmp_path / 'flags.cfg'}") == config


@pytest.mark.parametrize(
    ("said", "augment"),
    [
        ("", "crop"),
        ("--augment", "crop"),
        ("--augment=true", "crop"),
        ("--noaugment", "none"),
        ("--augment=False", "none"),
        ("--augment=simclr", "simclr"),
    ],
)
def test_augment_is_a_switch_and_a_choice(said: str, augment: str, tmp_path: Path) -> None:
    config = parse(linear_eval.COMMAND, *said.split())
    assert config.labels.augment == augment
    (tmp_path / "flags.cfg").write_text(flags.flagfile(linear_eval.COMMAND, config))
    assert parse(linear_eval.COMMAND, f"--flagfile={tmp_path / 'flags.cfg'}") == config


def test_augment_is_no_other_word() -> None:
    with pytest.raises(UsageError, match="--augment=color: choose one of none, crop, simclr"):
        parse(finetune.COMMAND, "--augment=color")


def test_runs_that_switched_augmentation_open(tmp_path: Path) -> None:
    for before, now in ((True, "crop"), (False, "none")):
        tree = Config("linear_eval").to_tree(["labels", "run"])
        tree["labels"]["augment"] = before
        (tmp_path / "config.json").write_text(json.dumps(tree))
        config = stored.read_config(epath.Path(tmp_path))
        assert config == Config("linear_eval").replace(augment=now)
        assert Config.from_tree(config.to_tree()).labels.augment == now


def test_no_option_stands_in_two_groups() -> None:
    names = [name for name, _, _ in Config("pretrain").options()]
    assert len(names) == len(set(names))


def test_a_later_versions_config_is_refused(run_folder: Path) -> None:
    text = (run_folder / "config.json").read_text().replace('"dataset"', '"dataset_of_tomorrow"')
    (run_folder / "config.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be used"):
        stored.stored_config(str(run_folder))


@given(
    examples=st.integers(2, 2_000_000),
    batch=st.integers(2, 8192),
    epochs=st.integers(1, 1000),
    warmup=st.integers(0, 20),
)
def test_epochs_become_steps_as_the_authors_round(
    examples: int, batch: int, epochs: int, warmup: int
) -> None:
    config = Config("pretrain").replace(
        train_batch_size=batch, train_epochs=epochs, warmup_epochs=float(warmup)
    )
    steps = config.steps(examples)
    assert steps.total == examples * epochs // batch + 1
    assert steps.warmup == warmup * examples // batch
    assert config.replace(train_steps=17).steps(examples).total == 17


def test_every_option_survives_json() -> None:
    config = Config("finetune").replace(
        label_fraction=0.01, use_flip=False, labels="a,b.csv", width_multiplier=0.5
    )
    assert Config.from_tree(json.loads(config.to_json())) == config


def test_differences_leave_out_what_a_resumed_run_may_change() -> None:
    config = Config("pretrain")
    assert config_lib.differences(config.replace(strategy="mirrored", checkpoint_steps=5), config) == []
    assert config_lib.differences(config.replace(temperature=0.5), config) == [
        "--temperature=0.5 (the run has 0.1)"
    ]


def test_groups_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config("pretrain").data.image_size = 3  # type: ignore[misc]


class Mistyped(Method):
    """Its published settings name a flag that there is none of."""

    citation = "nobody's"
    defaults: ClassVar[dict[str, float]] = {"learning_rate": 1, "lerning_rate": 2.0}


class Published(Method):
    defaults: ClassVar[dict[str, float]] = {"warmup_epochs": 3, "num_proj_layers": 3}


def test_a_methods_published_settings_come_before_the_commands_defaults() -> None:
    method = f"--method={__name__}:Published"
    config = parse(pretrain.COMMAND, method)
    assert (config.optimization.warmup_epochs, config.head.num_proj_layers) == (3.0, 3)
    assert parse(pretrain.COMMAND, method, "--warmup_epochs=2.5").optimization.warmup_epochs == 2.5
    with pytest.raises(UsageError, match="its defaults name no shared flag: lerning_rate"):
        parse(pretrain.COMMAND, f"--method={__name__}:Mistyped")


def test_only_the_flags_of_the_method_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    method = f"--method={__name__}:Published"
    with pytest.raises(UsageError, match="temperature"):
        parse(pretrain.COMMAND, method, "--temperature=1")
    assert parse(pretrain.COMMAND, "--temperature", "0.5", "--method", "simclr").method.temperature == 0.5
    assert pretrain.main([method, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--temperature" not in shown
    assert "--proj_out_dim" in shown


@dataclasses.dataclass(frozen=True)
class Named(Method):
    name: str = option("x", "an option that hides the method's name")


class Undecorated(Method):
    strength: float = option(1.0, "never seen")


class OfAnotherType(Method):
    defaults: ClassVar[dict[str, object]] = {"train_epochs": 0.5}


class Policy(Method):
    defaults: ClassVar[dict[str, str]] = {"augmentations": "color,blur"}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("Named", "its option 'name'"),
        ("Undecorated", "decorate it with @dataclasses.dataclass"),
        ("OfAnotherType", "its default of --train_epochs, 0.5, is no int"),
    ],
)
def test_methods_that_would_lose_an_option_are_refused(method: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(pretrain.COMMAND, f"--method={__name__}:{method}")


def test_flags_cfg_empties_what_a_method_publishes(tmp_path: Path) -> None:
    config = parse(pretrain.COMMAND, f"--method={__name__}:Policy", "--augmentations=")
    (tmp_path / "flags.cfg").write_text(flags.flagfile(pretrain.COMMAND, config))
    assert parse(pretrain.COMMAND, f"--flagfile={tmp_path / 'flags.cfg'}") == config
