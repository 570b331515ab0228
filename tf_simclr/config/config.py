"""What a command is asked to do: a tree of frozen dataclasses, one group of flags each.

Every option stands here once, with its default, its unit and its bounds; `flag_definitions` makes the
absl flags from it. Nothing below the commands reads flags. Durations carry their unit in the name, and
`Config.steps` is the only place that turns epochs into steps.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tf_simclr.errors import UsageError


def option(default: Any, help: str, **rules: Any) -> Any:
    """A field of a group: its default, its help text and its rules.

    Rules: `choices`; `minimum`, `maximum`, `above` (bounds); `form` (what a text must look like: a regular
    expression, and how to say it; empty passes); `distinct` (parts between commas differ); `inherited` (a
    run given by --checkpoint supplies it), `inherited_by` (to this command alone); `architecture` (inherited,
    and contradicting the checkpoint is an error); `may_change` (a resumed run may set it anew).
    """
    return dataclasses.field(default=default, metadata={"help": help, **rules})


_NUMBERS = (r"[^,]+(,[^,]+)*", "numbers separated by commas")
_COUNTS = (r" *(\d+|all) *(, *(\d+|all) *)*", "numbers of labels, or all, separated by commas")


@dataclasses.dataclass(frozen=True)
class Data:
    """data"""

    dataset: str = option(
        "", "digits, a TFDS name (cifar10, imagenet2012:5.1.0) or folder:PATH", inherited=True
    )
    data_dir: str = option(
        "", "folder of prepared TFDS data; empty: TFDS's own default", inherited=True, may_change=True
    )
    train_split: str = option("train", "split to train on (and k-NN's bank)")
    eval_split: str = option("", "split to evaluate on; empty: test, else validation")
    labels: str = option("", "CSV of file,label for a folder data set", inherited=True)
    image_size: int = option(
        224, "side of the square images given to the encoder, in pixels", minimum=4, inherited=True
    )
    eval_batch_size: int = option(256, "images a batch in evaluation", minimum=1, may_change=True)
    center_crop_fraction: float = option(
        0.0,
        "share of the shorter side that evaluation keeps; 0: 0.875, all of it at or below 32 px",
        minimum=0,
        maximum=1,
        inherited_by="evaluate",
    )
    resize_first: bool = option(
        False,
        "evaluation resizes the shorter side first, then crops (App. B.5, B.8)",
        inherited_by="evaluate",
    )
    cache_dataset: bool = option(
        False, "decode every image once, to uint8 with a shorter side of 1.15 * image_size at most"
    )
    cache_dir: str = option(
        "",
        "folder for the images of --cache_dataset, as files that later runs use too; empty: in memory",
        may_change=True,
    )
    shuffle_buffer: int = option(
        10_000,
        "records in the shuffle buffer of a TFDS data set; folders and digits are permuted exactly",
        minimum=1,
    )


@dataclasses.dataclass(frozen=True)
class Views:
    """random crop and flip"""

    crop_area_min: float = option(
        0.08, "smallest area of a random crop, as a fraction (App. A)", above=0, maximum=1
    )
    use_flip: bool = option(True, "flip left-right with p = 0.5 (App. A)")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """colour distortion and blur"""

    color_jitter_strength: float = option(
        1.0, "strength s of the colour distortion; 0: none (App. A)", minimum=0, maximum=2.5
    )
    color_jitter_order: str = option(
        "fixed", "order of the four jitters: the paper's listing, or random", choices=["fixed", "random"]
    )
    color_jitter_brightness: str = option(
        "additive",
        "brightness as in the paper's listing, or as in SimCLRv2",
        choices=["additive", "multiplicative"],
    )
    use_blur: bool = option(True, "Gaussian blur with p = 0.5 (App. A)")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """encoder"""

    resnet_depth: int = option(
        50, "layers of the ResNet", choices=[18, 34, 50, 101, 152, 200], architecture=True
    )
    width_multiplier: float = option(
        1.0, "factor of every layer's width; fractions too", above=0, architecture=True
    )
    sk_ratio: float = option(
        0.0, "selective kernels (SimCLRv2 uses 0.0625); 0: none", minimum=0, maximum=1, architecture=True
    )
    se_ratio: float = option(0.0, "squeeze and excitation; 0: none", minimum=0, maximum=1, architecture=True)
    stem: str = option(
        "auto",
        "first layers; auto is cifar (3x3, no pooling; App. B.9) below 64 px",
        choices=["auto", "imagenet", "cifar"],
        architecture=True,
    )
    batch_norm_decay: float = option(
        0.9, "decay of the moving statistics", minimum=0, maximum=1, inherited=True
    )
    global_bn: bool = option(True, "batch statistics over all replicas (Sec. 2.2)", inherited=True)


@dataclasses.dataclass(frozen=True)
class Head:
    """projection head"""

    proj_head_mode: str = option(
        "nonlinear",
        "kind of projection head (Fig. 8)",
        choices=["none", "linear", "nonlinear"],
        architecture=True,
    )
    num_proj_layers: int = option(
        2, "layers of the nonlinear head (SimCLRv2: 3)", minimum=1, architecture=True
    )
    proj_out_dim: int = option(128, "width of z", minimum=1, architecture=True)


@dataclasses.dataclass(frozen=True)
class Objective:
    """objective"""

    temperature: float = option(0.1, "temperature of NT-Xent (Table 5)", above=0)
    hidden_norm: bool = option(True, "l2-normalise z (Table 5)")
    loss_block_size: int = option(
        0,
        "rows of the similarity matrix held at a time (256 to 1024 are fast); 0: the whole matrix",
        minimum=0,
        may_change=True,
    )
    micro_batches: int = option(
        1,
        "chunks that a replica's images are encoded in, for 1/k of the activations' memory; "
        "batch statistics are then each chunk's own",
        minimum=1,
    )


@dataclasses.dataclass(frozen=True)
class Optimization:
    """optimization"""

    optimizer: str = option("lars", "optimizer", choices=["lars", "momentum", "nesterov", "adam", "lamb"])
    learning_rate: float = option(0.3, "base learning rate, before scaling by the batch", minimum=0)
    learning_rate_scaling: str = option(
        "linear",
        "linear: rate * batch / 256; sqrt: rate * sqrt(batch) (App. B.1)",
        choices=["linear", "sqrt", "none"],
    )
    momentum: float = option(0.9, "momentum", minimum=0, maximum=1)
    weight_decay: float = option(1e-6, "weight decay (authors' README: 1e-4)", minimum=0)
    warmup_epochs: float = option(10.0, "linear warm-up, in epochs", minimum=0)
    train_batch_size: int = option(4096, "images a step, over all replicas", minimum=2)
    train_epochs: int = option(
        100, "length of training, in epochs: floor(images * epochs / batch) + 1 steps", minimum=0
    )
    train_steps: int = option(0, "length of training, in steps; wins over epochs; 0: by epochs", minimum=0)
    profile_steps: str = option(
        "",
        "FIRST,LAST: steps to profile into logs/ for TensorBoard; empty: none",
        form=(r"\d+,\d+", "FIRST,LAST"),
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Probe:
    """online classifier"""

    lineareval_while_pretraining: bool = option(
        True, "train a linear classifier on stop_gradient(h) when labels exist"
    )
    probe_epochs: int = option(
        0, "epochs between probes by k-NN and L-BFGS classifier on frozen h; 0: none", minimum=0
    )
    probe_dataset: str = option("", "labelled data set of the probes; empty: --dataset")
    probe_train_split: str = option("train", "split of the probes' bank and classifier")
    probe_eval_split: str = option("", "split the probes are tested on; empty: test, else validation")
    probe_images: int = option(10_000, "most images of a split that a probe takes", minimum=1)
    preview_views: str = option(
        "", "write a PNG of originals and their views here, and stop", may_change=True
    )


@dataclasses.dataclass(frozen=True)
class Labels:
    """labels and classifier"""

    label_fraction: float = option(
        1.0, "fraction of the training labels, class-balanced (App. B.5)", above=0, maximum=1
    )
    labels_per_class: int = option(0, "labels a class; wins over the fraction; 0: by fraction", minimum=0)
    augment: bool = option(
        True, "random crop and flip; without, linear_eval computes the features once and keeps them"
    )
    zero_init_logits_layer: bool = option(False, "start the classifier from zero")
    ft_proj_selector: int = option(
        0, "head layer that feeds the classifier; 0: h itself (SimCLRv2: 1)", minimum=0
    )


@dataclasses.dataclass(frozen=True)
class Draws:
    """draws of the labels"""

    draws_labels_per_class: str = option("1,2,5,all", "labels a class to compare at", form=_COUNTS)
    num_draws: int = option(20, "paired draws of the labels", minimum=1)
    num_scratch_draws: int = option(3, "draws for training from scratch; 0: leave it out", minimum=0)


@dataclasses.dataclass(frozen=True)
class Freezing:
    """fine-tuning"""

    fine_tune_after_block: int = option(
        -1,
        "train what follows this block: -1 everything, 0 after the stem, ... 4 the classifier only",
        minimum=-1,
        maximum=4,
    )
    select_on_validation: bool = option(
        False, "hold out a tenth of the labelled images and keep the checkpoint that is best on them"
    )
    transfer_batch_norm: bool = option(
        False, "batch norm decay max(1 - 10 / s, 0.9), s steps an epoch (App. B.8)"
    )
    sweep: bool = option(
        False, "choose learning rate and weight decay on validation images, then train on all (App. B.8)"
    )
    sweep_learning_rates: str = option(
        "1e-4,3.16e-4,1e-3,3.16e-3,1e-2,3.16e-2,1e-1", "learning rates of --sweep (App. B.8)", form=_NUMBERS
    )
    sweep_weight_decays: str = option(
        "0,1e-6,3.16e-6,1e-5,3.16e-5,1e-4,3.16e-4,1e-3",
        "weight decays of --sweep, each divided by the learning rate (App. B.8)",
        form=_NUMBERS,
    )


@dataclasses.dataclass(frozen=True)
class Transfers:
    """transfer"""

    datasets: str = option("", "data sets, separated by commas; empty: --dataset", distinct=True)


@dataclasses.dataclass(frozen=True)
class Embedding:
    """embedding"""

    layer: str = option(
        "h",
        "h, z, or the number of a layer of the projection head (0: h)",
        form=(r"h|z|\d+", "h, z or the number of a layer"),
    )


@dataclasses.dataclass(frozen=True)
class Repeats:
    """error bars"""

    seeds: str = option(
        "",
        "seeds to repeat the whole with, separated by commas; empty: --seed alone",
        form=(r"(0|[1-9]\d*)( *, *(0|[1-9]\d*))*", "whole numbers from 0 on, separated by commas"),
        distinct=True,
    )
    compare_with: str = option(
        "", "run folder to compare the predictions with, by paired tests (App. B.8)", may_change=True
    )


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """checkpoints"""

    checkpoint: str = option("", "run folder or checkpoint prefix to start from")
    checkpoint_epochs: int = option(1, "epochs between checkpoints", minimum=1, may_change=True)
    checkpoint_steps: int = option(
        0, "steps between checkpoints; wins over epochs", minimum=0, may_change=True
    )
    keep_checkpoint_max: int = option(5, "checkpoints kept; 0: all", minimum=0, may_change=True)


@dataclasses.dataclass(frozen=True)
class Imported:
    """import"""

    source: str = option("", "the authors' checkpoint, a folder of them, or a SavedModel")
    ema: bool = option(False, "take the moving averages (ema_model/) of a TF1 checkpoint")


@dataclasses.dataclass(frozen=True)
class Devices:
    """devices"""

    strategy: str = option(
        "auto",
        "tf.distribute strategy",
        choices=["auto", "one_device", "mirrored", "multi_worker", "tpu"],
        may_change=True,
    )
    tpu_name: str = option("", "TPU to connect to", may_change=True)
    tpu_zone: str = option("", "zone of the TPU", may_change=True)
    gcp_project: str = option("", "project of the TPU", may_change=True)
    precision: str = option(
        "float32",
        "of the encoder's arithmetic; loss and statistics stay float32",
        choices=["float32", "bfloat16", "float16"],
    )
    jit_compile: bool = option(False, "compile the step with XLA (GPU, TPU)", may_change=True)
    steps_per_execution: int = option(1, "steps a call of the compiled function", minimum=1, may_change=True)
    data_service: str = option(
        "",
        "tf.data service that makes the batches: grpc://HOST:PORT, or several with commas",
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Doctor:
    """checks"""

    parity: bool = option(
        False, "train on 1 and on --devices virtual CPU devices and compare", may_change=True
    )
    sizes: bool = option(False, "memory and traffic of a planned run on --devices replicas", may_change=True)
    devices: int = option(2, "replicas", minimum=1, may_change=True)


@dataclasses.dataclass(frozen=True)
class Run:
    """run"""

    model_dir: str = option("", "run folder: checkpoints, logs, result.json, report.html", may_change=True)
    seed: int = option(0, "seed of initial weights, order and augmentations", minimum=0, maximum=2**31 - 1)
    deterministic: bool = option(False, "bitwise repeatable kernels on accelerators, at a cost")


@dataclasses.dataclass(frozen=True)
class Steps:
    """Durations of a run in steps."""

    total: int
    warmup: int
    per_epoch: int
    between_checkpoints: int


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on; `config.json` holds it."""

    command: str
    data: Data = Data()
    views: Views = Views()
    augmentation: Augmentation = Augmentation()
    encoder: Encoder = Encoder()
    head: Head = Head()
    objective: Objective = Objective()
    optimization: Optimization = Optimization()
    probe: Probe = Probe()
    labels: Labels = Labels()
    draws: Draws = Draws()
    freezing: Freezing = Freezing()
    transfers: Transfers = Transfers()
    embedding: Embedding = Embedding()
    repeats: Repeats = Repeats()
    checkpoints: Checkpoints = Checkpoints()
    imported: Imported = Imported()
    devices: Devices = Devices()
    doctor: Doctor = Doctor()
    run: Run = Run()

    def __post_init__(self) -> None:
        for name, field, value in self.options():
            _check(name, value, field.metadata)
        _check_profiled(self.optimization.profile_steps)
        if self.data.cache_dir and not self.data.cache_dataset:
            raise UsageError(f"--cache_dir={self.data.cache_dir} goes with --cache_dataset; give both")

    def require_model_dir(self) -> None:
        """UsageError where --model_dir is missing."""
        if not self.run.model_dir:
            raise UsageError("--model_dir is required: the folder that will hold the run")

    def require_checkpoint(self) -> None:
        """UsageError where --checkpoint is missing."""
        if not self.checkpoints.checkpoint:
            raise UsageError("--checkpoint is required: a run folder, or RUN/checkpoints/ckpt-STEP")

    def require_dataset(self) -> None:
        """UsageError where --dataset is missing."""
        if not self.data.dataset:
            raise UsageError("--dataset is required: digits, a TFDS name such as cifar10, or folder:PATH")

    def options(self) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
        """Yields (name, field, value) of every option of every group."""
        for group in group_names():
            settings = getattr(self, group)
            for field in dataclasses.fields(settings):
                yield field.name, field, getattr(settings, field.name)

    @property
    def stem(self) -> str:
        """The stem that `auto` stands for: App. B.9's below 64 px."""
        if self.encoder.stem != "auto":
            return self.encoder.stem
        return "cifar" if self.data.image_size < 64 else "imagenet"

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

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Reads config.json; options this version does not know are an error, missing ones take defaults."""
        tree = json.loads(text)
        groups = {name: kind(**tree[name]) for name, kind in group_kinds().items() if name in tree}
        return cls(command=tree["command"], **groups)

    def replace(self, **values: Any) -> Config:
        """A copy with options changed by their flag names."""
        changed = {}
        for group in group_names():
            settings = getattr(self, group)
            own = {
                field.name: values.pop(field.name)
                for field in dataclasses.fields(settings)
                if field.name in values
            }
            if own:
                changed[group] = dataclasses.replace(settings, **own)
        if values:
            raise KeyError(f"no such option: {', '.join(values)}")
        return dataclasses.replace(self, **changed)


def group_kinds() -> Mapping[str, Callable[..., Any]]:
    """The groups by name, in the order of `Config`."""
    kinds: list[Any] = [
        Data,
        Views,
        Augmentation,
        Encoder,
        Head,
        Objective,
        Optimization,
        Probe,
        Labels,
        Draws,
    ]
    kinds += [Freezing, Transfers, Embedding, Repeats, Checkpoints, Imported, Devices, Doctor, Run]
    return {kind.__name__.lower(): kind for kind in kinds}


def group_names() -> list[str]:
    return list(group_kinds())


def differences(asked: Config, stored: Config) -> list[str]:
    """Options in which two configurations differ, but for those that a resumed run may change."""
    return [
        f"--{name}={value!r} (the run has {was!r})"
        for (name, field, value), (_, _, was) in zip(asked.options(), stored.options(), strict=True)
        if value != was and not field.metadata.get("may_change")
    ]


def _check_profiled(steps: str) -> None:
    first, last = (int(number) for number in (steps or "2,2").split(","))
    if not 1 < first <= last:
        raise UsageError(
            f"--profile_steps={steps}: give FIRST,LAST with 2 <= FIRST <= LAST (step 1 traces the graph)"
        )


def _check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--{name}={value}: give a finite number")
    if value and "form" in rules and not re.fullmatch(rules["form"][0], value):
        raise UsageError(f"--{name}={value}: give {rules['form'][1]}")
    if "distinct" in rules and value:
        parts = [part.strip() for part in value.split(",")]
        if "" in parts or len(set(parts)) < len(parts):
            raise UsageError(f"--{name}={value}: give different ones between commas")
    if "choices" in rules and value not in rules["choices"]:
        raise UsageError(f"--{name}={value}: choose one of {', '.join(map(str, rules['choices']))}")
    if "minimum" in rules and value < rules["minimum"]:
        raise UsageError(f"--{name}={value}: must be at least {rules['minimum']}")
    if "maximum" in rules and value > rules["maximum"]:
        raise UsageError(f"--{name}={value}: must be at most {rules['maximum']}")
    if "above" in rules and value <= rules["above"]:
        raise UsageError(f"--{name}={value}: must be greater than {rules['above']}")
