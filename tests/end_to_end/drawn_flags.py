"""Command lines drawn from the options' own rules: about three quarters of the flags, up to two of them odd.

What the rules allow is drawn small, so that whatever is accepted can be built in a moment; what they refuse,
and texts that nobody means, are drawn of any size.
"""

from __future__ import annotations

import dataclasses
import importlib
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from export.__main__ import define_flags
from tf_simclr import methods
from tf_simclr.config import config as config_lib
from tf_simclr.options import LEAST

COMMANDS = ["pretrain", "linear_eval", "finetune", "evaluate", "knn", "label_efficiency", "import_official"]
COMMANDS += ["transfer", "embed", "doctor", "distill", "predict", "search", "figures", "transformation_probe"]
COMMANDS += ["reproduce", "export", "open_set", "zero_shot", "shrink"]
KINDS = [
    (command, method)
    for command in COMMANDS
    for method in (methods.names() if command in ("pretrain", "doctor") else [methods.DEFAULT])
]
SHARE = 0.75  # of the options that a case gives: each pair of them stands in more than half of the cases
EVALUATES = ("evaluate", "knn", "label_efficiency", "transfer", "embed", "predict", "search", "figures")
EVALUATES += ("transformation_probe", "export", "zero_shot")

ODD_TEXTS = ["", " ", ",", "a,,b", ", ,", "é", "\x00", "a\nb", "\udcff", "9" * 5000, "99999999999", "-1", "0"]
ODD_TEXTS += ["nan", "1e999", "[", "a(b", "a:b", "os:sep", "no/such", "/dev/null/x", "²", "|", "(", "None"]
ODD_NUMBERS = [-1, 0, 2**31, 10**18, -(2**63), 10**40, "0x" + "f" * 5000, "9" * 5000, "1e9", "1.5", "²"]
ODD_NUMBERS += [
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e300",
    "1e-300",
    "5e-324",
    "-0.0",
    "",
    " ",
    "x",
    "1,2",
    "None",
]

ODD: dict[str, list[str]] = {  # of options that have a grammar of their own
    "objective": (
        "nt_xent(x=1) margin_triplet(margin='a') margin_triplet(margin=1e400) nt_xent( os:sep os:getcwd"
    ).split(),
    "augmentations": (
        "color(strength=-1) color(strength='a') color(strength=1e300) crop(area_min=2) blur(x=1) cutout "
        "crop,,blur | crop| crop|blur|crop os:sep os:getcwd little:encoder"
    ).split(),
    "encoder": (
        "little:encoder(width=-1) little:encoder(width='a') little:encoder(width=1 little:none os:getcwd "
        "json:loads(s='1') little:encoder(x=1) little little: :encoder"
    ).split(),
    "data_service": "grpc://localhost:1 grpc://localhost:99999 grpc://a..b:1 grpc://:1 localhost:1".split(),
    "dataset": "folder: folder:. folder:no/such folder:/dev/null digits:1 digits,digits".split(),
    "train_split": "train[:0] train[ train[:-1%] train[:999%] train+ train[9:1] test all".split(),
    "labels": ["little.py", ".", "/dev/null"],
    "tpu_name": ["grpc://localhost:1", "local"],
    "source": ["official", "official/model.ckpt-3.index", "run", "little.py", "."],
}

PLAIN: dict[str, list[Any]] = {  # where the rules allow what is large, slow or means another machine
    "image_size": [4, 8, "8x12", "4x4"],
    "train_split": ["train[:200]", "train[200:280]"],
    "eval_split": ["test[:20]", "test[40:60]"],
    "queries": ["", "digits"],
    "eval_batch_size": [1, 7, 64],
    "encoder": ["little:encoder"] * 9 + ["little:encoder(width=6)", "resnet"],
    "width_multiplier": [1 / 32, 0.05],
    "augmentations": ["", "", "", "crop", "color(strength=0.5),blur", "crop|blur", "sobel,crop"],
    "augment": ["crop", "none", "simclr"],
    "one_branch": [False] * 7 + [True],
    "fine_tune_after_block": [-1, 4],
    "ema": [False] * 7 + [True],
    "num_proj_layers": [1, 2, 3],
    "proj_out_dim": [1, 8],
    "proj_hidden_dim": [0, 1, 8],
    "micro_batches": [1, 1, 1, 2],
    "train_batch_size": [2, 4, 8, 16],
    "train_steps": [1, 2, 3],
    "warmup_epochs": [0, 0.5, 10],
    "train_epochs": [0, 1, 100],
    "profile_steps": ["", "2,2"],
    "probe_images": [1, 20, 20, 20],
    "probe_train_split": ["train[:30]"],
    "probe_eval_split": ["test[:30]", "test[:1]"],
    "labels_per_class": [0, 1, 2, 9],
    "draws_labels_per_class": ["1", "1, 2", "all"],
    "num_draws": [1, 2],
    "num_scratch_draws": [0, 0, 0, 1],
    "sweep": [False, False, False, True],
    "sweep_learning_rates": ["0.1", "1e-3 , 1"],
    "sweep_weight_decays": ["0", "1e-3"],
    "datasets": ["", "digits"],
    "layer": ["h", "z", "0", "1"],
    "k": ["1", "2,200", "999999999"],
    "clusters": ["auto", "none", "2", "20"],
    "seeds": ["", "", "", "3"],
    "index": ["auto", "exact"],
    "steps_per_execution": [1, 2, 7],
    "devices": [1, 2],
    "parity": [False],
    "sizes": [True],
    "extend": [False] * 7 + [True],
    "channels": [3] * 7 + [1],
    "jit_compile": [False],
    "holdout": [0, 0.2, 0.5],
    "strategy": ["auto", "auto", "one_device", "mirrored"],
    "source": ["official/model.ckpt-3"],
    "queue_size": [96, 192],
    "num_clusters": ["2", "2,3"],
    "negative_prototypes": [0, 1],
    "predictor_layers": [0, 1, 2],
    "predictor_hidden_dim": [0, 4],
    "objective": ["nt_xent", "nt_logistic", "margin_triplet(margin=0.5)", "n_pair", "triplet", "max_margin"],
    "known_classes": ["0,1,2", "3,4,5,6"],
    "validation_unknowns": ["", "7", "8,9"],
    "add_class": ["", "", "", "9"],
    "preview_views": ["", "", "", "views.png"],
    "cache_dir": ["", "", "", "cache"],
    "model_dir": [],
    "output": [],
    "dataset": ["digits"],
    "checkpoint": [],
    "teacher": [],
    "export": [""],
    "output_dir": ["exports", "exports/b"],
    "format": ["saved_model"],
    "verify": [],
    "table": ["rows"],
    "results": ["", "kept"],
    "page": ["", "page.md"],
    "dry_run": [False],
    "report_only": [True],
}


class Flag(NamedTuple):
    """An option of a command: its name, default, rules, and whether the checkpoint's architecture."""

    name: str
    default: Any
    rules: Mapping[str, Any]


class Case(NamedTuple):
    """A command line, the names of the flags drawn for it, and whether it is run to its end."""

    command: str
    arguments: list[str]
    drawn: frozenset[str]
    whole: bool


def module_of(command: str) -> str:
    return "export.__main__" if command == "export" else f"tf_simclr.{command}"


def flags_of(command: str, method: str = methods.DEFAULT) -> list[Flag]:
    """Every option of a command, those of the method too."""
    if command == "export":
        values = define_flags()
        return [Flag(name, _plain(values[name].default), {}) for name in values if name != "help"]
    groups = importlib.import_module(f"tf_simclr.{command}").COMMAND.groups
    kinds = [methods.find(method) if group == "method" else config_lib.group_kind(group) for group in groups]
    found = [Flag(own.name, own.default, own.metadata) for kind in kinds for own in dataclasses.fields(kind)]
    return [*found, *([Flag("method", method, {})] if "method" in groups else [])]


def _plain(default: Any) -> Any:
    return ",".join(default) if isinstance(default, list) else default


def pairs_of(command: str) -> set[tuple[str, str]]:
    """All pairs of a command's options; those of two methods are never flags of one command line."""
    found: set[tuple[str, str]] = set()
    for method in [method for name, method in KINDS if name == command]:
        names = sorted({flag.name for flag in flags_of(command, method)})
        found |= {(one, other) for one in names for other in names if one < other}
    return found


def case(draw: Any, number: int, settled: Mapping[str, Mapping[str, Any]]) -> Case:
    """A command line; `settled` has the flags that a command needs, by its name.

    `draw` draws the values. Which options have one is a function of `number`: Hypothesis would mostly vary
    cases that it has seen, and pairs of options would be left out.
    """
    chance = random.Random(number)
    command, method = KINDS[number % len(KINDS)]
    base = settled[command]
    flags = flags_of(command, method)
    chosen = [flag for flag in flags if flag.name == "method" or chance.random() < SHARE]
    others = [flag.name for flag in chosen if flag.name != "method"]
    odd = chance.sample(others, min(len(others), chance.choice([0, 0, 0, 0, 1, 2])))
    values = {flag.name: _value(draw, flag, base, flag.name in odd) for flag in chosen}
    given = {**base, **{name: value for name, value in values.items() if value is not None}}
    words = [_word(name, value) for name, value in given.items()]
    whole = chance.random() < (0.3 if command in EVALUATES else 0.05)
    return Case(command, words, frozenset(flag.name for flag in chosen), whole)


def _value(draw: Any, flag: Flag, base: Mapping[str, Any], odd: bool) -> Any:
    """None where the flag is better not given: it would contradict the checkpoint, or has no plain value."""
    if odd and not isinstance(flag.default, bool):
        texts = isinstance(flag.default, str)
        known = [*_beyond(flag), *(ODD_TEXTS if texts else ODD_NUMBERS)]
        return draw(st.sampled_from(ODD.get(flag.name, known) + known))
    of_run = flag.rules.get("architecture") or flag.rules.get("inherited")
    if flag.name == "method" or (of_run and flag.name in base):
        return base.get(flag.name, flag.default)
    if of_run and ("checkpoint" in base or "source" in base):
        return None
    if flag.name in PLAIN:
        return draw(st.sampled_from(PLAIN[flag.name])) if PLAIN[flag.name] else None
    return draw(_allowed(flag))


def _allowed(flag: Flag) -> st.SearchStrategy[Any]:
    rules, default = flag.rules, flag.default
    if "choices" in rules:
        return st.sampled_from(rules["choices"])
    if isinstance(default, bool):
        return st.booleans()
    least = rules.get("minimum", rules.get("above", 0))
    if isinstance(default, int):
        return st.integers(least, min(rules.get("maximum", least + 8), least + 8))
    if isinstance(default, float):
        most = rules.get("maximum", rules.get("below", 10.0))
        inside = {"exclude_min": "above" in rules, "exclude_max": "below" in rules}
        if most > 1e4:
            return st.sampled_from([default, least, most])
        drawn = st.floats(float(least), float(most), **inside)
        return st.one_of(
            st.just(default), drawn.map(lambda number: number if abs(number) > LEAST else default)
        )
    return st.just(default)


def _beyond(flag: Flag) -> Iterator[Any]:
    """The nearest values that the bounds refuse."""
    for bound, step in (("minimum", -1), ("maximum", 1), ("above", 0), ("below", 0)):
        if bound in flag.rules:
            yield flag.rules[bound] + step


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    return f"--{name}={value}"
