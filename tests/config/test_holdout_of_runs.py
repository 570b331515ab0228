"""--holdout along a chain of runs: the same images of the same data, none of a run that began without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tf_simclr import finetune, knn, linear_eval, pretrain, runs, transfer
from tf_simclr.config import Config, flags, stored
from tf_simclr.errors import UsageError

PHOTOS = "folder:photos"


def parse(command: flags.Command, *arguments: str) -> Config:
    return flags.parse(command, arguments)[1]


def keep(folder: Path, config: Config, *, before: bool = False) -> str:
    """A run folder of `config`, or one from before --holdout."""
    tree = json.loads(config.to_json())
    if before:
        del tree["data"]["holdout"], tree["data"]["holdout_seed"]
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(tree))
    (folder / "checkpoints" / "ckpt-1.index").write_text("")
    return str(folder)


def test_a_run_of_the_same_data_holds_out_the_same(tmp_path: Path) -> None:
    source = Config("pretrain").replace(dataset=PHOTOS, holdout=0.4, holdout_seed=7)
    folder = keep(tmp_path / "run", source)
    for given in ([], [f"--dataset={PHOTOS}"], ["--seed=3"]):
        data = parse(finetune.COMMAND, f"--checkpoint={folder}", *given).data
        assert (data.holdout, data.holdout_seed) == (0.4, 7)
    several = parse(transfer.COMMAND, f"--checkpoint={folder}", f"--datasets=digits,{PHOTOS}").data
    assert (several.holdout, several.holdout_seed) == (0.4, 7)
    for given in (["--dataset=folder:others"], ["--datasets=folder:others"]):
        data = parse(transfer.COMMAND, f"--checkpoint={folder}", *given).data
        assert (data.holdout, data.holdout_seed) == (0.2, 0)
    assert parse(knn.COMMAND, f"--checkpoint={folder}", "--holdout=0.1").data.holdout == 0.1


def test_a_run_from_before_there_was_a_holdout_did_without(tmp_path: Path) -> None:
    source = Config("pretrain").replace(dataset=PHOTOS)
    folder = keep(tmp_path / "run", source, before=True)
    assert stored.stored_config(folder).data.holdout == 0
    assert parse(knn.COMMAND, f"--checkpoint={folder}").data.holdout == 0
    evaluation = stored.with_source(Config("knn").replace(dataset=PHOTOS, checkpoint=folder))
    tree = json.loads(evaluation.to_json())
    del tree["data"]["holdout"], tree["pretrained_by"]["data"]["holdout"]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert stored.same_source(evaluation, stored.read_config(tmp_path))


@pytest.mark.parametrize("dataset", ["digits", PHOTOS])
def test_a_run_from_before_goes_on_with_its_images(tmp_path: Path, dataset: str) -> None:
    options = {"dataset": dataset, "model_dir": str(tmp_path / "run"), "train_batch_size": 8}
    keep(tmp_path / "run", Config("pretrain").replace(**options), before=True)
    given = [f"--{name}={value}" for name, value in options.items()]
    config = parse(pretrain.COMMAND, *given)
    assert config.data.holdout == 0
    with pytest.raises(UsageError, match=r"--holdout=0\.2 \(the run has 0\.0\)"):
        runs.RunFolder.open(parse(pretrain.COMMAND, *given, "--holdout=0.2"), pretrain.COMMAND)
    runs.RunFolder.open(config, pretrain.COMMAND)
    assert parse(pretrain.COMMAND, *given).data.holdout == 0  # also now that config.json says so
    assert parse(pretrain.COMMAND, *given, f"--model_dir={tmp_path / 'new'}").data.holdout == 0.2
    (tmp_path / "run" / "checkpoints" / "ckpt-1.index").unlink()
    assert parse(pretrain.COMMAND, *given).data.holdout == 0.2  # nothing had begun


@pytest.mark.parametrize("value", ["1", "1.5", "-0.1", "nan"])
def test_a_share_is_at_least_0_and_less_than_1(value: str) -> None:
    with pytest.raises(UsageError, match=f"--holdout={float(value)}"):
        parse(linear_eval.COMMAND, f"--holdout={value}")
