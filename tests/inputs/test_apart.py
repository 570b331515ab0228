"""Every way to name a test part: none of its images, and no class of its own, is trained on anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.test_holdout import in_classes, write
from tests.small_runs import Make, folder_of
from tf_simclr import finetune, inputs, knn, label_efficiency, linear_eval, transfer
from tf_simclr.config import Config
from tf_simclr.data import Source, shared_images
from tf_simclr.data.records import IndexedSource
from tf_simclr.errors import UsageError
from tf_simclr.models import Classifier, Pretraining
from tf_simclr.protocols import sweeping
from tf_simclr.training import probe

SLICES = {"train_split": "train[:80%]", "eval_split": "train[80%:]"}
KINDS = {
    "held out": {"holdout": 0.2},
    "held out anew": {"holdout": 0.5, "holdout_seed": 3},
    "slices": {"holdout": 0.0, **SLICES},
    "slices of what is left": SLICES,
    "several slices": {**SLICES, "train_split": "train[:10%]+train[15%:75%]"},
    "csv": {"labels": "labels.csv"},
    "csv with splits": {"labels": "splits.csv"},
    "digits": {"dataset": "digits", **SLICES},
}
EVALUATIONS = [knn.knn, linear_eval.linear_eval, finetune.finetune, transfer.transfer]
EVALUATIONS += [label_efficiency.label_efficiency]


@pytest.fixture
def asked(tiny: Make, tmp_path: Path) -> Make:
    """Makes configurations of 60 images in two classes, with CSVs of them beside."""
    dataset = in_classes(tmp_path / "images", cat=30, dog=30)
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(30)]
    (tmp_path / "labels.csv").write_text("".join(f"{name},{name[:3]}\n" for name in names))
    split = ["test" if number % 5 == 0 else "train" for number in range(60)]
    rows = (f"{name},{name[:3]},{part}\n" for name, part in zip(names, split, strict=True))
    (tmp_path / "splits.csv").write_text("file,label,split\n" + "".join(rows))

    def make(command: str = "knn", **changes: object) -> Config:
        labels = str(tmp_path / str(changes.pop("labels"))) if "labels" in changes else ""
        return tiny(command, **{"dataset": dataset, "labels": labels, "optimizer": "nesterov", **changes})

    return make


def opened_by_knn(config: Config) -> list[Source]:
    return list(inputs.train_and_test_sources(config))


def opened_by_pretraining(config: Config) -> list[Source]:
    test = inputs.optional_eval_source(config)
    assert test is not None
    return [inputs.train_source(config), test]


def opened_by_probe(config: Config) -> list[Source]:
    changes = {"probe_train_split": config.data.train_split, "probe_eval_split": config.data.eval_split}
    config = config.replace(**changes)
    return list(probe._sources(config, probe._probe_config(config)))


def opened_by_transfer(config: Config) -> list[Source]:
    return transfer.open_images(config).sources


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_image_is_trained_and_tested_on(asked: Make, kind: str) -> None:
    found = set()
    for opened in (opened_by_knn, opened_by_pretraining, opened_by_probe, opened_by_transfer):
        for seed in (0, 5):
            train, test = opened(asked("transfer", seed=seed, **KINDS[kind]))
            assert isinstance(train, IndexedSource)
            assert isinstance(test, IndexedSource)
            assert not set(train.ids()) & set(test.ids())
            assert set(test.labels()) <= set(train.labels())
            found.add((tuple(train.ids()), tuple(test.ids())))
    assert len(found) == 1  # the same for every command and seed


def test_commands_open_their_images_there(asked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above opens is what each command works on."""

    class Opened(Exception):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Opened

    monkeypatch.setattr(inputs, "train_and_test_sources", stop)
    for command in (knn.knn, linear_eval.linear_eval, finetune.finetune, label_efficiency.label_efficiency):
        with pytest.raises(Opened):
            command(asked(command.__name__))
    with pytest.raises(Opened):
        finetune.finetune(asked("finetune", sweep=True))


@pytest.mark.parametrize(
    ("dataset", "train", "test", "images"),
    [
        ("digits", "train[:80%]", "train[70%:]", 144),
        ("digits", "train[:100]", "train[50:150]", 50),
        ("folder", "train[:80%]", "train[70%:]", 4),
        ("folder", "train", "train[70%:]", 0),
        ("folder", "train[:80%]", "test+train[:10%]", 5),
    ],
)
def test_overlapping_slices_are_refused(
    asked: Make, dataset: str, train: str, test: str, images: int
) -> None:
    changes = {} if dataset == "folder" else {"dataset": dataset}
    config = asked(train_split=train, eval_split=test, **changes)
    found = f"eval_split={test}: {images} of its images are" if images else "train is"
    for opened in (opened_by_knn, opened_by_probe, opened_by_transfer):
        with pytest.raises(UsageError, match=re.escape(f"{found} trained on (--")):
            opened(config)


def test_overlapping_slices_of_tfds_are_refused(tiny: Make, shared: Callable[[str], Path]) -> None:
    config = tiny("knn", dataset="cifar10", data_dir=str(shared("data/tfds")), train_split="train[:80%]")
    with pytest.raises(UsageError, match=r"images are trained on \(--train_split=train\[:80%\]\)"):
        inputs.train_and_test_sources(config.replace(eval_split="train[70%:]"))
    inputs.train_and_test_sources(config.replace(eval_split="train[80%:]"))
    with pytest.raises(UsageError, match=r"split 'train\[:3\]': class '.*' has no example to train on, nor"):
        inputs.train_and_test_sources(config.replace(train_split="train[:3]"))


def advised(message: str) -> list[dict[str, object]]:
    """The flags of each piece of advice in a message."""
    found = re.findall(r"--(\w+)=(\S+)", message.partition(": ")[2])
    slices = {name: value.rstrip(",") for name, value in found if name.endswith("_split")}
    shares = [{name: float(value.rstrip(","))} for name, value in found if name == "holdout"]
    return [*shares, *([slices] if slices else [])]


@pytest.mark.parametrize("command", EVALUATIONS, ids=lambda command: command.__name__)
def test_the_advice_works(
    asked: Make, command: Callable[[Config], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the refusal where there is no test split: what it says is done, and the command goes on."""

    class WentOn(Exception):
        pass

    def went_on(*_: object, **__: object) -> None:
        raise WentOn

    config = asked(command.__name__, holdout=0.0)
    with pytest.raises(UsageError, match="hold a part out by") as refusal:
        command(config)
    advice = advised(str(refusal.value))
    assert len(advice) == 2
    for place in ("runs.build.classifier", "runs.frozen_encoder", "runs.loading.frozen_parts"):
        monkeypatch.setattr(f"tf_simclr.{place}", went_on)
    for changes in advice:
        with pytest.raises(WentOn):
            command(asked(command.__name__, **{"holdout": 0.0, **changes}))


def test_the_advice_of_a_probe_works(asked: Make) -> None:
    config = asked("pretrain", holdout=0.0)
    with pytest.raises(UsageError, match="hold a part out by") as refusal:
        probe._sources(config, probe._probe_config(config))
    advice = advised(str(refusal.value))
    assert {name for changes in advice for name in changes} == {
        "holdout",
        "probe_train_split",
        "probe_eval_split",
    }
    for changes in advice:
        config = asked("pretrain", **{"holdout": 0.0, **changes})
        bank, queries = probe._sources(config, probe._probe_config(config))
        assert (bank.num_examples, queries.num_examples) == (48, 12)


def test_the_advice_of_tfds_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Make) -> None:
    from tf_simclr.data import tfds_source

    monkeypatch.setattr(tfds_source, "tfds_splits", lambda dataset, data_dir: ("train", "more"))
    with pytest.raises(UsageError, match=r"\(available: more\), or slices, as") as refusal:
        inputs.eval_source(asked(dataset="anybodys"))
    (changes,) = advised(str(refusal.value))
    assert changes == SLICES  # which the test above follows


@pytest.fixture
def lopsided(tmp_path: Path) -> dict[str, dict[str, object]]:
    """Ways to leave `rare` without an image to train on."""
    names = [f"common/{number}.png" for number in range(20)] + ["often/1.png", "often/2.png", "rare/1.png"]
    whole = write(tmp_path / "whole", *names)
    parts = write(tmp_path / "parts", "train/common/1.png", "train/often/1.png", "test/rare/2.png")
    rows = [f"{name},{name.split('/')[0]},{'test' if 'rare' in name else 'train'}" for name in names]
    (tmp_path / "splits.csv").write_text("\n".join(["file,label,split", *rows]))
    return {
        "folders": {"dataset": parts},
        "csv": {"dataset": whole, "labels": str(tmp_path / "splits.csv")},
        "slices": {"dataset": whole, "holdout": 0.0, "train_split": "train[:1]", "eval_split": "train[1:]"},
    }


@pytest.mark.parametrize("way", ["folders", "csv", "slices"])
@pytest.mark.parametrize(
    ("command", "changes"),
    [*((command, {}) for command in EVALUATIONS), (finetune.finetune, {"sweep": True})],
    ids=lambda value: getattr(value, "__name__", None) or ",".join(value),
)
def test_a_class_without_training_images_is_found_first(
    tiny: Make,
    lopsided: dict[str, dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Config], object],
    changes: dict[str, object],
    way: str,
) -> None:
    for model in (Classifier, Pretraining):
        monkeypatch.setattr(model, "__init__", _never)
    monkeypatch.setattr("tf_simclr.runs.frozen_encoder", _never)
    monkeypatch.setattr("tf_simclr.runs.loading.frozen_parts", _never)
    config = tiny(command.__name__, optimizer="nesterov", **lopsided[way], **changes)
    missing = "'(common|often|rare)' has no example to train on"
    with pytest.raises(UsageError, match=missing) as error:
        command(config)
    assert "\n" not in str(error.value)
    assert ("nor have '" in str(error.value)) == (way == "slices")


def _never(*_: object, **__: object) -> None:
    raise AssertionError("went on")


def test_a_probe_misses_a_class_too(lopsided: dict[str, dict[str, object]], tiny: Make) -> None:
    config = tiny(probe_epochs=1, **lopsided["folders"])
    with pytest.raises(UsageError, match=r"split 'train': class 'rare' has no example to train on"):
        probe._sources(config, probe._probe_config(config))


def test_labels_that_leave_a_class_out_are_named(
    asked: Make, lopsided: dict[str, dict[str, object]], tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_simclr.runs.build.classifier", _never)
    monkeypatch.setattr("tf_simclr.runs.frozen_encoder", _never)
    with pytest.raises(UsageError, match=r"--label_fraction=0\.02: class 'dog' would have no example"):
        linear_eval.linear_eval(asked("linear_eval", label_fraction=0.02))
    few = {"dataset": lopsided["csv"]["dataset"], "optimizer": "nesterov"}
    with pytest.raises(UsageError, match=r"--labels_per_class=2: class '(often|rare)' has 1 labelled"):
        finetune.finetune(tiny("finetune", labels_per_class=2, **few))
    with pytest.raises(UsageError, match=r"^--draws_labels_per_class=2: class '(often|rare)' has 1 labelled"):
        label_efficiency.label_efficiency(tiny("label_efficiency", draws_labels_per_class="1,2,all", **few))


def test_a_sweep_finds_an_overlap_before_it_trains(asked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = asked("finetune", sweep=True, train_split="train[:80%]", eval_split="train[70%:]")
    with pytest.raises(UsageError, match="of its images are trained on"):
        sweeping.sweep(config, finetune.COMMAND, _never)


def test_sources_of_a_command_are_of_one_data_set(asked: Make) -> None:
    train, test = inputs.train_and_test_sources(asked())
    assert shared_images(train, train) == train.num_examples
    assert train.held_out == test.held_out == tuple(sorted(name.decode() for name in test.ids()))


def test_a_mistake_in_the_last_data_set_is_found_first(asked: Make, lopsided: dict[str, dict]) -> None:
    names = [asked().data.dataset, str(lopsided["folders"]["dataset"])]
    config = asked("transfer", datasets=",".join(names))
    with pytest.raises(UsageError, match="'rare' has no example to train on"):
        transfer.transfer(config)
    assert {path.name for path in folder_of(config).iterdir()} == {"config.json", "flags.cfg"}
