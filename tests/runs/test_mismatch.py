"""A checkpoint that does not fit is refused with what differs and with the flags that would fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.__main__ import main as export_main
from tf_simclr import evaluate, linear_eval, pretrain
from tf_simclr.config import Config, stored
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.runs import checkpoints, loading, misfit, prefixes
from tf_simclr.runs.parts import new_parts

SMALL = {
    "dataset": "digits",
    "image_size": 8,
    "resnet_depth": 18,
    "width_multiplier": 0.0625,
    "proj_out_dim": 8,
}


def write_run(folder: Path, num_classes: int = 10, **options: object) -> str:
    """A run folder with random weights."""
    config = Config("pretrain").replace(**{**SMALL, **options})
    parts = new_parts(config, num_classes)
    folder.mkdir()
    (folder / "config.json").write_text(config.to_json())
    checkpoints.Checkpoints(folder / "checkpoints", tf.train.Checkpoint(**parts), keep=1).save(7)
    return str(folder)


def contradict(run: str, **options: object) -> None:
    path = Path(run) / "config.json"
    path.write_text(stored.read_config(path.parent).replace(**options).to_json())


def test_what_fits_is_loaded(tmp_path: Path) -> None:
    run = loading.load_run(write_run(tmp_path / "run"))
    assert run.step == 7
    assert run.classifier is not None


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ({"resnet_depth": 18}, {"resnet_depth": 50}),
        ({"resnet_depth": 34}, {"resnet_depth": 18}),  # 18's variables are all among those of 34
        ({"width_multiplier": 0.125}, {"width_multiplier": 0.0625}),
        ({"width_multiplier": 0.3}, {"width_multiplier": 0.25}),
        ({"resnet_depth": 50, "sk_ratio": 0.0625}, {"sk_ratio": 0.0}),
        ({"se_ratio": 0.25}, {"se_ratio": 0.0}),
        ({"stem": "imagenet"}, {"stem": "cifar"}),
        ({"num_proj_layers": 3}, {"num_proj_layers": 2}),
        ({"proj_out_dim": 16}, {"proj_out_dim": 8}),
        ({"proj_head_mode": "none"}, {"proj_head_mode": "nonlinear"}),
        ({"proj_head_mode": "linear"}, {"proj_head_mode": "nonlinear"}),
    ],
)
def test_config_that_contradicts_the_variables(tmp_path: Path, stored: dict, asked: dict) -> None:
    prefix = prefixes.find(write_run(tmp_path / "run", **stored))
    config = Config("pretrain").replace(**{**SMALL, **stored, **asked})
    parts = new_parts(config, 0)
    with pytest.raises(DoesNotFit) as raised:
        checkpoints.load_parts(prefix, parts, config)
    for name, value in asked.items():
        right = stored.get(name, SMALL.get(name))
        message = str(raised.value)
        assert f"--{name}={right}" in message.split("; you asked for ", maxsplit=1)[0]
        assert f"--{name}={value}" in message.split("; you asked for ")[1]
    assert message.count("--") == 3, "only what differs is named"
    head, *rows = raised.value.details
    assert head.split() == ["variable", "in", "the", "checkpoint", "asked", "for"]
    assert 1 <= len(rows) <= 11
    assert all(row.startswith(("encoder/", "projection_head/", "... and ")) for row in rows)


def test_rows_name_both_shapes(tmp_path: Path) -> None:
    prefix = prefixes.find(write_run(tmp_path / "run", width_multiplier=0.125))
    config = Config("pretrain").replace(**SMALL)
    with pytest.raises(DoesNotFit) as raised:
        checkpoints.load_parts(prefix, new_parts(config, 0), config)
    rows = raised.value.details
    assert rows[1].split(maxsplit=1)[0] == "encoder/stem/conv1/kernel"
    assert "[3, 3, 3, 8]" in rows[1]
    assert rows[1].endswith("[3, 3, 3, 4]")
    assert rows[-1].startswith("... and ")


def test_missing_head_and_other_classes_are_named(tmp_path: Path) -> None:
    prefix = prefixes.find(write_run(tmp_path / "run"))
    config = Config("pretrain").replace(**SMALL)
    parts = new_parts(config, 20)
    with pytest.raises(DoesNotFit, match=r"classes=10; you asked for --classes=20") as raised:
        checkpoints.load_parts(prefix, {name: parts[name] for name in ("encoder", "classifier")}, config)
    assert [row.split()[0] for row in raised.value.details[1:]] == [
        "classifier/dense/kernel",
        "classifier/dense/bias",
    ]


def test_flags_that_contradict_print_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    arguments = [f"--checkpoint={run}", "--resnet_depth=50", "--width_multiplier=2"]
    assert linear_eval.main([*arguments, f"--model_dir={tmp_path / 'out'}"]) == 2
    first, *table = capsys.readouterr().err.rstrip().split("\n")
    assert "is --resnet_depth=18 --width_multiplier=0.0625; you asked for" in first
    assert "--resnet_depth=50 --width_multiplier=2.0" in first
    assert len(table) == 12
    assert "encoder/stem/conv1/kernel" in table[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "folder"),
    [(evaluate.main, "model_dir"), (export_main, "output_dir")],
    ids=["evaluate", "export"],
)
def test_config_json_that_is_wrong_prints_the_table(
    main: Callable[[list[str]], int],
    folder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    run = write_run(tmp_path / "run")
    contradict(run, resnet_depth=34)
    assert main([f"--checkpoint={run}", f"--{folder}={tmp_path / 'out'}"]) == 2
    first, *table = capsys.readouterr().err.rstrip().split("\n")
    assert "is --resnet_depth=18; you asked for --resnet_depth=34" in first
    assert "absent" in table[1]


def test_classifier_whose_head_layer_is_missing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", proj_head_mode="none")
    contradict(run, proj_head_mode="nonlinear", ft_proj_selector=1)
    with pytest.raises(DoesNotFit, match=r"--proj_head_mode=none; you asked for --proj_head_mode=nonlinear"):
        loading.load_run(run)
    contradict(run, ft_proj_selector=5)
    with pytest.raises(UsageError, match="--ft_proj_selector=5"):
        loading.load_run(run)


@pytest.mark.slow
def test_resuming_with_another_encoder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = Config("pretrain").replace(
        **SMALL, train_batch_size=8, train_steps=2, warmup_epochs=0.0, model_dir=str(folder)
    )
    pretrain.pretrain(config)
    contradict(str(folder), resnet_depth=34)
    with pytest.raises(DoesNotFit, match=r"is --resnet_depth=18; you asked for --resnet_depth=34"):
        pretrain.pretrain(config.replace(resnet_depth=34))


def keras_encoder(width: int) -> tf.keras.Model:
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [layers.Conv2D(4, 3, input_shape=[8, 8, 3]), layers.BatchNormalization(), layers.Conv2D(width, 3)]
    )


def test_any_encoder_has_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misfit, "new_parts", lambda config, classes: {"encoder": keras_encoder(5)})
    holder = tf.train.Checkpoint(encoder=keras_encoder(4))
    checkpoints.Checkpoints(tmp_path / "checkpoints", holder, keep=1).save(7)
    prefix, config = prefixes.find(str(tmp_path)), Config("pretrain").replace(**SMALL)
    checkpoints.load_parts(prefix, {"encoder": keras_encoder(4)}, config)
    with pytest.raises(DoesNotFit, match="other variables than asked for") as raised:
        checkpoints.load_parts(prefix, {"encoder": keras_encoder(5)}, config)
    kernel, bias = (row.split(maxsplit=1) for row in raised.value.details[1:])
    assert kernel[0].startswith("encoder/conv2d")
    assert kernel[0].endswith("/kernel")
    assert kernel[1].split("  ")[0] == "[3, 3, 4, 4]"
    assert kernel[1].endswith("[3, 3, 4, 5]")
    assert bias[1].split() == ["[4]", "[5]"]


def test_what_a_method_keeps_beside_the_parts_is_no_misfit(tmp_path: Path) -> None:
    """A momentum encoder, a queue: variables of the model outside of encoder, head and classifier."""
    run = Path(write_run(tmp_path / "run"))
    config = stored.stored_config(str(run))
    parts = new_parts(config, 10)
    state = tf.train.Checkpoint(encoder=new_parts(config, 0)["encoder"], queue=tf.Variable(tf.zeros([4, 8])))
    kept = checkpoints.Checkpoints(run / "checkpoints", tf.train.Checkpoint(**parts, state=state), keep=1)
    kept.save(9)
    assert kept.restore_newest(config) == 9
    found = loading.load_run(str(run))
    assert found.step == 9
    np.testing.assert_array_equal(found.encoder.variables[0], parts["encoder"].variables[0])


def test_damaged_json_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for name in ("data.json", "result.json", "config.json"):
        for content in (b"", b'{"top1": ', b"\xff\xfe", b"[1]"):
            (Path(run) / name).write_bytes(content)
            with pytest.raises(UsageError, match=name):
                loading.load_run(run)


def test_other_mistakes_stay_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(write_run(tmp_path / "run"))
    data = run / "checkpoints" / "ckpt-7.index"
    data.write_bytes(data.read_bytes()[:40])
    with pytest.raises(UsageError, match="cannot be read"):
        loading.load_run(str(run))
    assert evaluate.main([f"--checkpoint={run}", f"--model_dir={tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert json.loads((run / "config.json").read_text())["command"] == "pretrain"
