"""The authors' TF1 variables, which are told apart by name: `base_model/conv2d_12/kernel`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tf_simclr.errors import UsageError
from tf_simclr.official.weights import LEAVES, Layer, Part, Stored, Weights

EMA = "ema_model/"
_LEAF = f"(?P<leaf>{'|'.join(LEAVES)})"
_ENCODER = re.compile(rf"base_model/(?P<kind>conv2d|batch_normalization)(?:_(?P<number>\d+))?/{_LEAF}")
_HEAD = re.compile(rf"head_contrastive/n?l_(?P<number>\d+)/(?P<kind>dense|batch_normalization)/{_LEAF}")
_CLASSIFIER = re.compile(rf"head_supervised/linear_layer/(?P<kind>dense)/{_LEAF}")


def sort(shapes: Mapping[str, Sequence[int]], *, ema: bool = False) -> Weights:
    """Sorts names and shapes into layers; `ema` takes the copy under `ema_model/`, and so does a file without
    another.

    Their numbers count layers in creation order, the shortcut first in its block; ours do too.

    Raises:
        UsageError: no encoder of theirs there, a variable that nothing is known about, or two for one.
    """
    ema = ema or not any(map(_is_plain, shapes))
    prefix = EMA if ema else ""
    own = {
        name[len(prefix) :]: Stored(name, tuple(shape))
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    encoder, head, classifier = (_part(own, pattern) for pattern in (_ENCODER, _HEAD, _CLASSIFIER))
    if not encoder.kernels:
        wanted = "base_model/" if not any(map(_is_plain, shapes)) else f"{prefix}base_model/"
        raise UsageError(f"no encoder in it: no variable is named {wanted}conv2d/kernel")
    used = {variable.name for part in (encoder, head, classifier) for variable in part.variables()}
    left_out = sorted(shapes.keys() - used)
    _refuse_unknown(left_out, shapes, copy="" if ema else EMA)
    return Weights(encoder, head, classifier, left_out=left_out, averages=ema)


def _part(variables: Mapping[str, Stored], pattern: re.Pattern[str]) -> Part:
    layers: dict[tuple[int, str], Layer] = {}
    for name, variable in variables.items():
        match = pattern.fullmatch(name)
        if match:
            found = match.groupdict()
            key = (int(found.get("number") or 0), found["kind"])
            layer = layers.setdefault(key, {})
            if found["leaf"] in layer:
                raise UsageError(f"variables {layer[found['leaf']].name} and {variable.name} have one number")
            layer[found["leaf"]] = variable
    return Part.of(layers[key] for key in sorted(layers))


def is_slot(name: str) -> bool:
    """Whether it is an optimizer's state of a variable: base_model/conv2d/kernel/Momentum.

    A stripped file may hold it without that variable.
    """
    return _is_ours(name.rpartition("/")[0].removeprefix(EMA))


def _refuse_unknown(names: Sequence[str], shapes: Mapping[str, Sequence[int]], copy: str) -> None:
    """What may be left out: the step, an optimizer's own variables, and the other copy, under `copy`."""
    for name in names:
        slot = is_slot(name) or name.rpartition("/")[0] in shapes
        other = name.startswith(copy) and _is_ours(name.removeprefix(copy))
        if not (slot or other or re.fullmatch(r"global_step|beta[12]_power(_\d+)?", name)):
            raise UsageError(f"variable {name} {list(shapes[name])} is unknown: this is no SimCLR checkpoint")


def _is_ours(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (_ENCODER, _HEAD, _CLASSIFIER))


def _is_plain(name: str) -> bool:
    """Whether it is a variable of an encoder, and no moving average."""
    return bool(_ENCODER.fullmatch(name))
