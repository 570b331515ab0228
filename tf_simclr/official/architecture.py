"""The flags that an encoder and its heads were built with, inferred from the shapes of their variables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from tf_simclr.errors import UsageError
from tf_simclr.networks.resnet import BLOCKS_PER_GROUP
from tf_simclr.official.weights import Weights

_BASE_WIDTHS = (64, 128, 256, 512)
_MIN_SK_CHANNELS = 32
_USUAL = (0.0625, 0.25, 0.125, 0.5)
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Values of the flags of encoder and projection head, and the number of classes (0: no classifier)."""

    resnet_depth: int
    width_multiplier: float
    sk_ratio: float
    se_ratio: float
    stem: str
    proj_head_mode: str = "none"
    num_proj_layers: int = 2
    proj_out_dim: int = 128
    num_classes: int = 0

    def flags(self) -> dict[str, int | float | str]:
        values = dataclasses.asdict(self)
        del values["num_classes"]
        return values


def infer(weights: Weights) -> Architecture:
    """The architecture that a checkpoint's variables are of.

    Shapes leave some freedom: a ratio or width is the simplest number that gives them. Selective kernels of
    a ResNet-18 or -34 leave no variables; with them, the ImageNet stem has three convolutions.

    Raises:
        UsageError: the variables are those of no such ResNet.
    """
    try:
        return Architecture(**_encoder(weights), **_heads(weights))
    except (IndexError, KeyError) as error:
        kernels = weights.encoder.kernels
        raise UsageError(
            f"no ResNet-18, 34, 50, 101, 152 or 200 of SimCLR has its {len(kernels)} convolutions"
        ) from error


def _encoder(weights: Weights) -> dict[str, Any]:
    layers = weights.encoder.kernels
    plain = [layer["kernel"].shape for layer in layers if "bias" not in layer]
    excitation = [layer["kernel"].shape for layer in layers if "bias" in layer][::2]  # a block's `reduce`
    large = plain[0][0] == 7
    deep_stem = not large and plain[1][0] == 3  # ResNet-D: three 3x3 convolutions
    body = plain[3:] if deep_stem else plain[1:]
    spatial = [i for i, kernel in enumerate(body) if kernel[0] == 3]
    basic = len(body) - len(spatial) == 4  # nothing but the four shortcuts is 1x1
    blocks, odd = divmod(len(spatial), 2 if basic else 1)
    if odd:
        raise KeyError(len(spatial))
    depth = {(sum(b), depth < 50): depth for depth, b in BLOCKS_PER_GROUP.items()}[blocks, basic]
    if basic:
        spatial = spatial[::2]
    first = [0, *accumulate(BLOCKS_PER_GROUP[depth])][:4]  # of each group, as a number of blocks
    widths = [body[spatial[block]][3] for block in first]
    selective = not basic and len(body) == 5 * len(spatial) + 4
    sk_ratio = _USUAL[0] if deep_stem else 0.0
    if selective:
        widths = [width // 2 for width in widths]
        reduced = [body[spatial[block] + 1][3] for block in first]
        sk_ratio = _ratio(widths, reduced, _MIN_SK_CHANNELS)
    se_ratio = _ratio(widths, [excitation[b][3] for b in first], 1) if excitation else 0.0
    return {
        "resnet_depth": depth,
        "width_multiplier": _ratio(_BASE_WIDTHS, widths, 0),
        "sk_ratio": sk_ratio,
        "se_ratio": se_ratio,
        "stem": "imagenet" if large or deep_stem else "cifar",
    }


def _heads(weights: Weights) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if weights.classifier.kernels:
        found["num_classes"] = weights.classifier.kernels[0]["kernel"].shape[1]
    layers = weights.projection_head.kernels
    if layers:
        found["proj_out_dim"] = layers[-1]["kernel"].shape[1]
    if len(layers) == 1:
        found["proj_head_mode"] = "linear"  # a nonlinear head of one layer is the same
    elif layers:
        found |= {"proj_head_mode": "nonlinear", "num_proj_layers": len(layers)}
    return found


def _ratio(bases: Sequence[int], channels: Sequence[int], least: int) -> float:
    """The simplest r with max(least, int(base * r)) == channels for all of them.

    Raises:
        KeyError: there is none.
    """
    low = max((c / b for b, c in zip(bases, channels, strict=True) if c > least), default=0.0)
    high = min((c + 1) / b for b, c in zip(bases, channels, strict=True))
    for ratio in _candidates(low):
        if low <= ratio < high and ratio > 0:
            return ratio
    if low < high:
        return low or high / 2
    raise KeyError(channels)


def _candidates(low: float) -> Iterable[float]:
    yield from _USUAL
    for digits in range(4):
        yield math.ceil(low * 10**digits) / 10**digits
