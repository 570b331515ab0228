"""The groups of options that commands share, one frozen dataclass each.

Every option stands here once, with its default, its unit and its bounds (a pretraining method's own stand in
its file in `methods`); `flags` makes the absl flags from it. Durations carry their unit in the name.
"""

from __future__ import annotations

import dataclasses

from tf_simclr.image_size import read_size, shorter_side
from tf_simclr.options import DEEPEST, TEMPERATURES, WIDEST, option

_AUGMENT = {"true": "crop", "false": "none"}  # --augment, --noaugment, and runs from before --augment=simclr
_TRANSFORMATION = "(color|rotation|noise|sobel)"
_NUMBER = r" *\d*\.?\d+\.?(e[+-]?\d+)? *"
_NUMBERS = (rf"(?i:{_NUMBER}(,{_NUMBER})*)", "numbers from 0 on, separated by commas")
_COUNT = r" *([1-9]\d{0,8}|all) *"
_COUNTS = (rf"{_COUNT}(,{_COUNT})*", "numbers of labels, or all, separated by commas")


@dataclasses.dataclass(frozen=True)
class Data:
    """data"""

    dataset: str = option(
        "", "digits, a TFDS name (cifar10, imagenet2012:5.1.0) or folder:PATH", inherited=True
    )
    data_dir: str = option(
        "", "folder of prepared TFDS data; empty: TFDS's own default", inherited=True, may_change=True
    )
    train_split: str = option("train", "split to train on (and k-NN's bank), or a slice, as train[:80%]")
    eval_split: str = option("", "split or slice to evaluate on; empty: test, else validation")
    labels: str = option("", "CSV of file,label or file,label,split for a folder data set", inherited=True)
    holdout: float = option(
        0.2,
        "share of each class that is the split test of a labelled folder without test or validation; 0: none",
        minimum=0,
        below=1,
        inherited=True,
    )
    holdout_seed: int = option(
        0, "which images --holdout takes, whatever --seed is", minimum=0, inherited=True
    )
    image_size: int | str = option(
        224,
        "side of the square images given to the encoder, in pixels; HxW: height and width",
        read=read_size,
        measure=shorter_side,
        minimum=4,
        inherited=True,
    )
    channels: int = option(3, "channels of the images: RGB, or 1 for grey", choices=[1, 3], architecture=True)
    exif: str = option(
        "ignore",
        "EXIF orientation of JPEG, PNG and WebP; apply turns the images upright",
        choices=["ignore", "apply"],
        inherited=True,
    )
    eval_batch_size: int = option(
        256, "images a batch in evaluation", minimum=1, maximum=65_536, may_change=True
    )
    center_crop_fraction: float = option(
        0.0,
        "share of the shorter side that evaluation keeps; 0: 0.875, all of it at or below 32 px",
        minimum=0,
        maximum=1,
        inherited_by=("evaluate", "predict", "state_probe"),
    )
    resize_first: bool = option(
        False,
        "evaluation resizes the shorter side first, then crops (App. B.5, B.8)",
        inherited_by=("evaluate", "predict"),
    )
    cache_dataset: bool = option(
        False, "decode every image once, to uint8 of no more pixels than cover 1.15 * image_size"
    )
    cache_dir: str = option(
        "",
        "folder for the images of --cache_dataset, as files that later runs use too; empty: in memory",
        may_change=True,
    )
    on_bad_image: str = option(
        "skip",
        "an image that cannot be decoded: skip uses others in its place, fail ends the command",
        choices=["skip", "fail"],
        may_change=True,
    )
    max_bad_images: float = option(
        0.01,
        "bad images that --on_bad_image=skip bears: a share of the data set, or from 1 on their number",
        minimum=0,
        may_change=True,
    )
    max_image_pixels: int = option(
        178_956_970, "an image of more pixels is a bad one, not decoded", minimum=65_536, may_change=True
    )
    shuffle_buffer: int = option(
        10_000,
        "records in the shuffle buffer of a TFDS data set; folders and digits are permuted exactly",
        minimum=1,
        maximum=10_000_000,
    )


@dataclasses.dataclass(frozen=True)
class Views:
    """random crop and flip"""

    crop_area_min: float = option(
        0.08, "smallest area of a random crop, as a fraction (App. A)", above=0, maximum=1
    )
    crop_side: float = option(
        0.0,
        "side of every random crop as a share of a square image's: shifts only (CURL: 84 of 100 px); 0: as "
        "App. A has them",
        minimum=0,
        maximum=1,
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
    augmentations: str = option(
        "",
        "operations in sequence, as crop,color(strength=0.5),blur or MODULE:FUNCTION, one such list for each "
        "view between |; empty: crop,color,blur by the flags above",
    )
    one_branch: bool = option(
        False, "views are one crop, and the augmentations are the first view's alone (Sec. 3.1, Fig. 5)"
    )


@dataclasses.dataclass(frozen=True)
class Encoder:
    """encoder"""

    encoder: str = option(
        "resnet",
        "resnet, or MODULE:FUNCTION that makes a Keras model of images [b, H, W, 3] in [0, 1] to [b, D]",
        architecture=True,
    )
    resnet_depth: int = option(
        50, "layers of the ResNet", choices=[18, 34, 50, 101, 152, 200], architecture=True
    )
    width_multiplier: float = option(
        1.0, "factor of every layer's width; fractions too", minimum=1 / 32, maximum=16, architecture=True
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
        2, "layers of the nonlinear head (SimCLRv2: 3)", minimum=1, maximum=DEEPEST, architecture=True
    )
    proj_out_dim: int = option(128, "width of z", minimum=1, maximum=WIDEST, architecture=True)
    proj_hidden_dim: int = option(
        0, "width of the head's hidden layers; 0: that of h", minimum=0, maximum=WIDEST, architecture=True
    )
    proj_batch_norm: str = option(
        "all",
        "layers of the head that batch norm follows; all_plain: the last one without factor (SimSiam)",
        choices=["all", "all_plain", "hidden", "none"],
        architecture=True,
    )


@dataclasses.dataclass(frozen=True)
class Memory:
    """memory"""

    micro_batches: int = option(
        1,
        "chunks that a replica's images are encoded in, for 1/k of the activations' memory; "
        "batch statistics are then each chunk's own",
        minimum=1,
    )
    feed: str = option(
        "auto",
        "who makes the views: the host, or the device of decoded images in its memory; auto: an accelerator "
        "of whose memory these take a tenth at most",
        choices=["auto", "host", "device"],
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Optimization:
    """optimization"""

    optimizer: str = option("lars", "optimizer", choices=["lars", "momentum", "nesterov", "adam", "lamb"])
    learning_rate: float = option(
        0.3, "base learning rate, before scaling by the batch", minimum=0, maximum=1e38
    )
    learning_rate_scaling: str = option(
        "linear",
        "linear: rate * batch / 256; sqrt: rate * sqrt(batch) (App. B.1)",
        choices=["linear", "sqrt", "none"],
    )
    momentum: float = option(0.9, "momentum", minimum=0, maximum=1)
    weight_decay: float = option(1e-6, "weight decay (authors' README: 1e-4)", minimum=0, maximum=1e12)
    warmup_epochs: float = option(10.0, "linear warm-up, in epochs", minimum=0, maximum=1e6)
    train_batch_size: int = option(4096, "images a step, over all replicas", minimum=2, maximum=131_072)
    train_epochs: int = option(
        100, "length of training, in epochs: floor(images * epochs / batch) + 1 steps", minimum=0
    )
    train_steps: int = option(0, "length of training, in steps; wins over epochs; 0: by epochs", minimum=0)
    skip_nonfinite_steps: int = option(
        0,
        "most steps of a run to leave out because loss, gradient or update is not finite; 0: none",
        minimum=0,
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Extension:
    """training longer"""

    extend: bool = option(
        False,
        "train the run in --model_dir on to larger --train_epochs or --train_steps; its schedule ends there",
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Profile:
    """profile"""

    profile_steps: str = option(
        "",
        "FIRST,LAST: steps to profile into logs/ for TensorBoard; empty: none",
        form=(r"\d{1,9},\d{1,9}", "FIRST,LAST"),
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Preview:
    """preview"""

    preview_views: str = option(
        "", "write a PNG of originals and their views here, and stop", may_change=True
    )


@dataclasses.dataclass(frozen=True)
class Probe:
    """online classifier and probes"""

    lineareval_while_pretraining: bool = option(
        True, "train a linear classifier on stop_gradient(h) when labels exist"
    )
    validate_epochs: int = option(
        0,
        "epochs between measurements of the loss on --eval_split, in batches of the training's size; 0: none",
        minimum=0,
    )
    probe_epochs: int = option(
        0, "epochs between probes by k-NN and L-BFGS classifier on frozen h; 0: none", minimum=0
    )
    probe_dataset: str = option("", "labelled data set of the probes; empty: --dataset")
    probe_train_split: str = option("train", "split of the probes' bank and classifier")
    probe_eval_split: str = option("", "split the probes are tested on; empty: test, else validation")
    probe_images: int = option(10_000, "most images of a split that a probe takes", minimum=1)


@dataclasses.dataclass(frozen=True)
class Labels:
    """labels and classifier"""

    label_fraction: float = option(
        1.0, "fraction of the training labels, class-balanced (App. B.5)", above=0, maximum=1
    )
    labels_per_class: int = option(0, "labels a class; wins over the fraction; 0: by fraction", minimum=0)
    augment: str = option(
        "crop",
        "random crop and flip; simclr: then colours and blur, or --augmentations, as pretraining (Table 1); "
        "none: linear_eval computes the features once and keeps them",
        choices=["none", "crop", "simclr"],
        switch=True,
    )
    zero_init_logits_layer: bool = option(False, "start the classifier from zero")
    ft_proj_selector: int = option(
        0, "head layer that feeds the classifier; 0: h itself (SimCLRv2: 1)", minimum=0
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", _AUGMENT.get(str(self.augment).lower(), self.augment))


@dataclasses.dataclass(frozen=True)
class Distillation:
    """distillation"""

    teacher: str = option("", "run folder or checkpoint prefix, with a classifier, that labels the images")
    distillation_temperature: float = option(
        0.1,
        "temperature of both distributions (SimCLRv2: 0.1 by itself, 1.0 to a smaller student)",
        **TEMPERATURES,
    )
    label_weight: float = option(
        0.0,
        "weight of the labels where there are some, 1 - alpha of SimCLRv2's Eq. 3; 0: they are not used",
        minimum=0,
        maximum=1,
    )


@dataclasses.dataclass(frozen=True)
class OpenSet:
    """open set"""

    known_classes: str = option(
        "", "classes to train on, names or numbers between commas; the others are unknown", distinct=True
    )
    validation_unknowns: str = option(
        "",
        "unknown classes of which a tenth of the training images is held out, to fit what unknown means; "
        "empty: all",
        distinct=True,
    )
    clustering_weight: float = option(
        0.1, "weight of the contrastive clustering (authors' code: 0.1); 0: none", minimum=0, maximum=1e6
    )
    clustering_margin: float = option(
        10.0, "distance from which on another class's prototype does not repel", minimum=0, maximum=1e6
    )
    clustering_norm: float = option(
        2.0, "p of the distance's norm; 2: Euclid's (authors' code: 10, at margin 2)", minimum=1, maximum=64
    )
    features_per_class: int = option(
        20, "latest features of a class that its prototype follows", minimum=1, maximum=65_536
    )
    clustering_start_step: int = option(
        1000, "step after which there are prototypes, and clustering", minimum=1
    )
    prototype_steps: int = option(3000, "steps between moves of the prototypes", minimum=1)
    prototype_momentum: float = option(
        0.99, "share that a prototype keeps when it moves", minimum=0, maximum=1
    )
    energy_temperature: float = option(
        1.0, "temperature of the energy (authors' code: 1.5 in the fits, 1 in tests)", **TEMPERATURES
    )
    add_class: str = option(
        "", "unknown class, name or number, that the run of --checkpoint learns, by --exemplars"
    )
    exemplars: int = option(
        50,
        "images a class, of the old and the new, that --add_class trains on; 0: all of the new one alone",
        minimum=0,
    )


@dataclasses.dataclass(frozen=True)
class Draws:
    """draws of the labels"""

    draws_labels_per_class: str = option("1,2,5,all", "labels a class to compare at", form=_COUNTS)
    num_draws: int = option(20, "paired draws of the labels", minimum=1, maximum=10_000)
    num_scratch_draws: int = option(
        3, "draws for training from scratch; 0: leave it out", minimum=0, maximum=10_000
    )


@dataclasses.dataclass(frozen=True)
class Freezing:
    """fine-tuning"""

    fine_tune_after_block: int = option(
        -1,
        "train what follows this block: -1 everything, 0 after the stem, ... 4 the classifier only",
        minimum=-1,
        maximum=4,
    )
    transfer_batch_norm: bool = option(
        False, "batch norm decay max(1 - 10 / s, 0.9), s steps an epoch (App. B.8)"
    )


@dataclasses.dataclass(frozen=True)
class Selection:
    """selection"""

    select_on_validation: bool = option(
        False, "hold out a tenth of the labelled images and keep the checkpoint that is best on them"
    )


@dataclasses.dataclass(frozen=True)
class Sweep:
    """sweep"""

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
        form=(r"h|z|\d{1,9}", "h, z or the number of a layer"),
    )


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """k-NN"""

    k: str = option(
        "20,200",
        "neighbours that vote, separated by commas; the last one's weighted votes are top-1; cut to the bank",
        form=(r"[1-9]\d{0,8}( *, *[1-9]\d{0,8})*", "whole numbers from 1 on, separated by commas"),
        distinct=True,
    )

    def ks(self) -> list[int]:
        """`k` as numbers."""
        return [int(k) for k in self.k.split(",")]


@dataclasses.dataclass(frozen=True)
class Transforming:
    """transformation probe"""

    transformations: str = option(
        "color,rotation,noise,sobel",
        "what is told apart (Table 3): color (or grey), rotation, noise, sobel, separated by commas",
        form=(
            rf"{_TRANSFORMATION}( *, *{_TRANSFORMATION})*",
            "color, rotation, noise or sobel, between commas",
        ),
        distinct=True,
    )
    transformed_images: int = option(50_000, "most images of a split, a view each", minimum=2)
    mlp_hidden_dim: int = option(
        0, "width of the MLP's hidden layer; 0: that of the representation (Sec. 4.2)", minimum=0
    )
    mlp_steps: int = option(3000, "steps of 256 views that the MLP is trained for", minimum=1)


@dataclasses.dataclass(frozen=True)
class Recording:
    """recording"""

    environment: str = option("", "gymnasium's name of an environment that shows pixels, as CartPole-v1")
    frames_dir: str = option("", "folder to write, new or empty: train/, test/, states.csv")
    train_episodes: int = option(200, "episodes of the split train", minimum=1, maximum=1_000_000)
    test_episodes: int = option(50, "episodes of the split test", minimum=1, maximum=1_000_000)
    episode_steps: int = option(100, "most steps of an episode", minimum=3, maximum=1_000_000)
    frame_size: int = option(100, "side of the square frames, in pixels", minimum=4, maximum=1024)
    random_actions: float = option(
        0.2, "share of uniform actions; the others are the episode's random policy's", minimum=0, maximum=1
    )
    start_spread: float = option(
        0.0,
        "the state's first number (of CartPole: the position) starts up to so far from where the environment "
        "puts it, uniformly",
        minimum=0,
        maximum=1e6,
    )
    recording_seed: int = option(0, "seed of policies, actions and starts", minimum=0)


@dataclasses.dataclass(frozen=True)
class StateProbe:
    """state probe"""

    states: str = option(
        "",
        "CSV of file and the numbers to be read from its frames; empty: states.csv in the data set's folder",
    )
    state_images: int = option(5000, "most images of a split, spread evenly over it", minimum=2)


@dataclasses.dataclass(frozen=True)
class Prompting:
    """prompts"""

    prompts: str = option(
        "",
        "what is said of a class {}, between | where several are, or a CSV of class,prompt; empty: the run's "
        "--caption_templates, the bare name where it had --captions",
    )


@dataclasses.dataclass(frozen=True)
class Predicting:
    """predicting"""

    output: str = option("", "CSV to write, replacing an older one when it is complete; -: standard output")
    top_k: int = option(3, "most probable classes a row, cut to the number of classes", minimum=1)
    export: str = option("", "folder of an exported classifier, in place of --checkpoint")


@dataclasses.dataclass(frozen=True)
class Searching:
    """search"""

    queries: str = option(
        "",
        "data set of the images to search for, as --dataset; empty: --eval_split, else every image itself",
        may_change=True,
    )
    neighbours: int = option(10, "nearest images a query", minimum=1, may_change=True)
    duplicates_above: float = option(
        0.95, "cosine from which on images are near-duplicates", above=-1, maximum=1, may_change=True
    )
    clusters: str = option(
        "auto",
        "k-means clusters: a number, none, or auto, the root of half the images, at most 50",
        form=(r"auto|none|[1-9]\d{0,8}", "a number of clusters, auto or none"),
        may_change=True,
    )
    index: str = option(
        "auto",
        "exact, or faiss's inverted lists, a part of the bank a query; auto: faiss from 100,000 images on",
        choices=["auto", "exact", "faiss"],
        may_change=True,
    )
    map: str = option(
        "tsne",
        "map.html and TensorBoard's projector: positions by t-SNE or UMAP, or no map",
        choices=["tsne", "umap", "none"],
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Repeats:
    """error bars"""

    seeds: str = option(
        "",
        "seeds to repeat the whole with, separated by commas; empty: --seed alone",
        form=(r"(0|[1-9]\d{0,8})( *, *(0|[1-9]\d{0,8}))*", "whole numbers from 0 on, separated by commas"),
        distinct=True,
    )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """comparison"""

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
    steps_per_execution: int = option(
        1, "steps a call of the compiled function", minimum=1, maximum=100_000, may_change=True
    )
    data_service: str = option(
        "",
        "tf.data service that makes the batches: grpc://HOST:PORT, or several with commas",
        may_change=True,
    )


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """shrinking"""

    output_dir: str = option("", "folder to write, which is there when it is whole")
    jpeg_quality: int = option(95, "quality of the JPEG of shrunken images", minimum=1, maximum=100)


@dataclasses.dataclass(frozen=True)
class Doctor:
    """checks"""

    parity: bool = option(
        False, "train on 1 and on --devices virtual CPU devices and compare", may_change=True
    )
    sizes: bool = option(False, "memory and traffic of a planned run on --devices replicas", may_change=True)
    data: bool = option(
        False, "decode every image of --dataset; bad_images.csv in --model_dir", may_change=True
    )
    devices: int = option(2, "replicas", minimum=1, may_change=True)
    trial_seconds: int = option(
        30, "about how long a planned run is tried on this machine; 0: not at all", minimum=0, may_change=True
    )
    json: bool = option(False, "print findings, or sizes, as JSON", may_change=True)


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """tables of rows"""

    table: str = option("", "folders of flagfiles, a row a file, separated by commas", distinct=True)
    rows: str = option("", "names of the rows to run, or patterns, separated by commas; empty: all")
    row_flags: str = option(
        "", "further flags of every command of the rows, as '--data_dir=DIR --jit_compile'"
    )
    results: str = option("", "folder of the rows' results, a small JSON each; empty: MODEL_DIR/results")
    workers: int = option(1, "runs side by side, a process each", minimum=1)
    dry_run: bool = option(False, "print the plan, with the time that a few measured steps promise, and stop")
    report_only: bool = option(False, "train nothing: report what --results holds")
    page: str = option("", "Markdown file for all tables together, their pictures in a folder of its name")


@dataclasses.dataclass(frozen=True)
class Run:
    """run"""

    model_dir: str = option("", "run folder: checkpoints, logs, result.json, report.html", may_change=True)
    seed: int = option(0, "seed of initial weights, order and augmentations", minimum=0, maximum=2**31 - 1)
    deterministic: bool = option(False, "bitwise repeatable kernels on accelerators, at a cost")
    force_unlock: bool = option(
        False, "take a run folder from the process that its lock names, which is known to be gone"
    )
