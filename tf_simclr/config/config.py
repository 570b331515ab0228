"""What a command is asked to do: a tree of frozen dataclasses; config.json holds a run's.

Nothing below the commands reads flags. `Config.steps` is the only place that turns epochs into steps.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from typing import Any

from tf_simclr import methods
from tf_simclr.config import groups
from tf_simclr.errors import UsageError
from tf_simclr.image_size import shorter_side
from tf_simclr.methods.method import Method
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.options import check, options_of

LEAST_CROP = 0.1  # of a shorter side: images that are resized first become ten times the view at most
SOURCES = ("pretrained_by", "taught_by")


@dataclasses.dataclass(frozen=True)
class Steps:
    """Durations of a run in steps."""

    total: int
    warmup: int
    per_epoch: int
    between_checkpoints: int


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on.

    `pretrained_by` is the content of config.json of the run that --checkpoint named, its own source within;
    `taught_by` that of the run that --teacher named. `extended` holds (step, total, new total) of each
    --extend of a run: the steps it had done, and the lengths before and after.
    """

    command: str
    method: Method = field(default_factory=SimCLR)
    data: groups.Data = field(default_factory=groups.Data)
    views: groups.Views = field(default_factory=groups.Views)
    augmentation: groups.Augmentation = field(default_factory=groups.Augmentation)
    encoder: groups.Encoder = field(default_factory=groups.Encoder)
    head: groups.Head = field(default_factory=groups.Head)
    optimization: groups.Optimization = field(default_factory=groups.Optimization)
    extension: groups.Extension = field(default_factory=groups.Extension)
    memory: groups.Memory = field(default_factory=groups.Memory)
    probe: groups.Probe = field(default_factory=groups.Probe)
    preview: groups.Preview = field(default_factory=groups.Preview)
    labels: groups.Labels = field(default_factory=groups.Labels)
    distillation: groups.Distillation = field(default_factory=groups.Distillation)
    open_set: groups.OpenSet = field(default_factory=groups.OpenSet)
    draws: groups.Draws = field(default_factory=groups.Draws)
    freezing: groups.Freezing = field(default_factory=groups.Freezing)
    selection: groups.Selection = field(default_factory=groups.Selection)
    sweep: groups.Sweep = field(default_factory=groups.Sweep)
    transfers: groups.Transfers = field(default_factory=groups.Transfers)
    embedding: groups.Embedding = field(default_factory=groups.Embedding)
    neighbours: groups.Neighbours = field(default_factory=groups.Neighbours)
    transforming: groups.Transforming = field(default_factory=groups.Transforming)
    recording: groups.Recording = field(default_factory=groups.Recording)
    state_probe: groups.StateProbe = field(default_factory=groups.StateProbe)
    prompting: groups.Prompting = field(default_factory=groups.Prompting)
    predicting: groups.Predicting = field(default_factory=groups.Predicting)
    shrinking: groups.Shrinking = field(default_factory=groups.Shrinking)
    searching: groups.Searching = field(default_factory=groups.Searching)
    repeats: groups.Repeats = field(default_factory=groups.Repeats)
    comparison: groups.Comparison = field(default_factory=groups.Comparison)
    reproduction: groups.Reproduction = field(default_factory=groups.Reproduction)
    checkpoints: groups.Checkpoints = field(default_factory=groups.Checkpoints)
    imported: groups.Imported = field(default_factory=groups.Imported)
    devices: groups.Devices = field(default_factory=groups.Devices)
    profile: groups.Profile = field(default_factory=groups.Profile)
    doctor: groups.Doctor = field(default_factory=groups.Doctor)
    run: groups.Run = field(default_factory=groups.Run)
    pretrained_by: Mapping[str, Any] | None = None
    taught_by: Mapping[str, Any] | None = None
    extended: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, option, value in self.options():
            check(name, value, option.metadata)
        _check_profiled(self.profile.profile_steps)
        if 0 < self.data.center_crop_fraction < LEAST_CROP:
            raise UsageError(
                f"--center_crop_fraction={self.data.center_crop_fraction}: give 0, or at least {LEAST_CROP}"
            )
        if self.data.cache_dir and not self.data.cache_dataset:
            raise UsageError(f"--cache_dir={self.data.cache_dir} goes with --cache_dataset; give both")
        if self.memory.feed == "device" and self.devices.data_service:
            raise UsageError("--feed=device: views are made where --data_service is not; give one of them")
        if self.predicting.export and self.checkpoints.checkpoint:
            raise UsageError("--checkpoint and --export each name a classifier: give one of them")
        if self.extension.extend and self.sweep.sweep:
            raise UsageError(
                "--extend trains one run longer, not a --sweep; give it with --model_dir=SWEEP/chosen and "
                "--flagfile=SWEEP/chosen/flags.cfg"
            )

    def require_model_dir(self) -> None:
        """UsageError where --model_dir is missing."""
        if not self.run.model_dir:
            raise UsageError("--model_dir is required: the folder that will hold the run")

    def require_checkpoint(self) -> None:
        """UsageError where --checkpoint is missing."""
        if not self.checkpoints.checkpoint:
            raise UsageError("--checkpoint is required: a run folder, or RUN/checkpoints/ckpt-STEP")

    def require_classifier(self) -> None:
        """UsageError where neither --checkpoint nor --export is there."""
        if not (self.checkpoints.checkpoint or self.predicting.export):
            raise UsageError(
                "--checkpoint or --export is required: a run with a classifier, or an exported classifier"
            )

    def require_output(self) -> None:
        """UsageError where --output is missing."""
        if not self.predicting.output:
            raise UsageError("--output is required: the CSV to write, such as predictions.csv")

    def require_teacher(self) -> None:
        """UsageError where --teacher is missing."""
        if not self.distillation.teacher:
            raise UsageError("--teacher is required: a run with a classifier, as finetune leaves it")

    def require_known_classes(self) -> None:
        """UsageError where --known_classes is missing, or what --add_class adds to."""
        if self.open_set.add_class and not self.checkpoints.checkpoint:
            raise UsageError("--add_class goes with --checkpoint, the run of open_set that is to learn it")
        if not (self.open_set.known_classes or self.open_set.add_class):
            raise UsageError(
                "--known_classes is required: names or numbers of the classes to train on, such as 0,1,2; "
                "the others are unknown"
            )

    def require_dataset(self) -> None:
        """UsageError where --dataset is missing."""
        if not self.data.dataset:
            raise UsageError("--dataset is required: digits, a TFDS name such as cifar10, or folder:PATH")

    def options(self, of: Collection[str] = ()) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
        """Yields (name, field, value) of every option of the groups `of`; none named: of all."""
        for group in group_names():
            if not of or group in of:
                yield from options_of(getattr(self, group))

    @property
    def stem(self) -> str:
        """The stem that `auto` stands for: App. B.9's below 64 px."""
        if self.encoder.stem != "auto":
            return self.encoder.stem
        return "cifar" if shorter_side(self.data.image_size) < 64 else "imagenet"

    def steps(self, num_examples: int) -> Steps:
        """Durations in steps, by the authors' rounding: floor(N * epochs / B) + 1 and floor(W * N / B)."""
        train, batch = self.optimization, self.optimization.train_batch_size
        if train.train_steps:
            total = train.train_steps
        else:
            total = num_examples * train.train_epochs // batch + 1 if train.train_epochs else 0
        per_epoch = max(1, num_examples // batch)
        return Steps(
            total=total,
            warmup=int(train.warmup_epochs * num_examples // batch),
            per_epoch=per_epoch,
            between_checkpoints=self.checkpoints.checkpoint_steps
            or self.checkpoints.checkpoint_epochs * per_epoch,
        )

    def to_tree(self, of: Collection[str] = ()) -> dict[str, Any]:
        """What config.json says: the command, its groups `of` (none named: all), and what it came from."""
        own = [group for group in group_names() if not of or group in of]
        tree: dict[str, Any] = {"command": self.command}
        tree |= {group: dataclasses.asdict(getattr(self, group)) for group in own}
        if "method" in own:
            tree["method"] = {"name": methods.name_of(self.method), **tree["method"]}
        sources = {name: getattr(self, name) for name in SOURCES}
        tree |= {name: source for name, source in sources.items() if source is not None}
        return tree | ({"extended": self.extended} if self.extended else {})

    def to_json(self, of: Collection[str] = ()) -> str:
        return json.dumps(self.to_tree(of), indent=2) + "\n"

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Config:
        """Reads `to_tree`'s, and those of before a method had a group: options are known by their names.

        Raises:
            KeyError: an option that this version does not know; missing ones take defaults.
        """
        own = {name: group for name, group in tree.items() if name not in ("command", "extended", *SOURCES)}
        values = {name: value for group in own.values() for name, value in group.items()}
        config = cls(
            tree["command"],
            pretrained_by=tree.get("pretrained_by"),
            taught_by=tree.get("taught_by"),
            extended=tuple((step, old, new) for step, old, new in tree.get("extended", ())),
        )
        if "method" in own:
            config = config.replace(method=values.pop("name"))
        return config.replace(**values)

    def replace(self, **values: Any) -> Config:
        """A copy with options changed by flag name; `method` is a name, whose own options follow it."""
        changed: dict[str, Any] = {}
        if "method" in values:
            name = values.pop("method")
            changed["method"] = self.method if name == methods.name_of(self.method) else methods.find(name)()
        for group in group_names():
            settings = changed.get(group, getattr(self, group))
            own = {name: values.pop(name) for name, _, _ in options_of(settings) if name in values}
            if own:
                changed[group] = dataclasses.replace(settings, **own)
        if values:
            raise KeyError(f"no such option: {', '.join(values)}")
        return dataclasses.replace(self, **changed)


def group_names() -> list[str]:
    """The groups, in the order of `Config`."""
    return list(_kinds())


def group_kind(name: str) -> Any:
    """The dataclass of a group; `method`'s is the default method's."""
    return _kinds()[name]


def _kinds() -> dict[str, Callable[[], Any]]:
    return {
        own.name: own.default_factory
        for own in dataclasses.fields(Config)
        if own.default_factory is not dataclasses.MISSING
    }


def differences(asked: Config, stored: Config, of: Collection[str] = ()) -> list[str]:
    """Options of the groups `of` that differ, but for those that a resumed run may change."""
    names = methods.name_of(asked.method), methods.name_of(stored.method)
    if names[0] != names[1] and (not of or "method" in of):
        return [f"--method={names[0]!r} (the run has {names[1]!r})"]
    return [
        f"--{name}={value!r} (the run has {was!r})"
        for (name, option, value), (_, _, was) in zip(asked.options(of), stored.options(of), strict=True)
        if value != was and not option.metadata.get("may_change")
    ]


def _check_profiled(steps: str) -> None:
    first, last = (int(number) for number in (steps or "2,2").split(","))
    if not 1 < first <= last:
        raise UsageError(
            f"--profile_steps={steps}: give FIRST,LAST with 2 <= FIRST <= LAST (step 1 traces the graph)"
        )
