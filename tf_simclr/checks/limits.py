"""From where on a check of a planned run speaks up, and whose figure that is."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """A number, what it bounds, and where it comes from."""

    value: float
    bounds: str
    source: str


FLAT_DEVIATION = Limit(
    0.02,
    "deviation of a view's pixels, of 1, below which it is near-uniform",
    "5 of 255 levels; of the crops of 250 ImageNet photographs 0.4 % are",
)
FLAT_VIEWS = Limit(0.1, "share of near-uniform views: warning", "TODO")
FLAT_VIEWS_WASTED = Limit(
    0.5, "share of near-uniform views: wasted", "half of the positives then teach nothing"
)
SMALL_FOR_IMAGENET_STEM = Limit(
    64, "side in px below which --stem=imagenet is too coarse", "App. B.9; the last map of 32 px is 1 x 1"
)
LARGE_FOR_CIFAR_STEM = Limit(
    128, "side in px from which --stem=cifar is too dear", "16 times the activations of the ImageNet stem"
)
ENLARGED = Limit(2.0, "factor by which images are enlarged to --image_size", "four pixels made of one")
LOWEST_TEMPERATURE = Limit(0.05, "lowest temperature of l2-normalised z", "Table 5: 59.7 against 64.4 at 0.1")
HIGHEST_TEMPERATURE = Limit(
    1.0, "highest temperature of l2-normalised z", "Table 5: 58.0 against 64.4 at 0.1"
)
LOW_LARS_RATE = Limit(
    0.5, "peak rate of LARS over 0.075 sqrt(batch), SimCLR", "Table B.1: 57.5 at 0.25, 62.8 at 1 (batch 256)"
)
HIGH_LARS_RATE = Limit(
    5.0, "peak rate of LARS over 0.075 sqrt(batch)", "App. B.9: the highest tried, at 4,096"
)
HIGH_SGD_RATE = Limit(
    1.0, "peak rate of momentum and nesterov over batch / 256", "ten times Goyal et al. (2017)"
)
HIGH_ADAM_RATE = Limit(0.01, "peak rate of adam and lamb", "ten times Kingma & Ba (2015); You et al. (2020)")
LONG_WARMUP = Limit(0.5, "share of the run that is warm-up", "Sec. 2.3: a tenth of 100 epochs")
UNEVEN_CLASSES = Limit(10, "largest class over smallest", "balanced sets are top-1's own ground (Sec. 2.3)")
SAME_IMAGE = Limit(0.999, "cosine of two centred 16 px thumbnails, from which they are one image", "TODO")
LEFT_OUT = Limit(0.01, "share of a folder's images that have no decoder", "that of --max_bad_images")
FULL_MEMORY = Limit(
    0.9, "share of the memory that a run is reckoned to need", "kernels take scratch space on top"
)
FIRST_LOSS = Limit(1.5, "first loss over that of knowing nothing", "TODO")
SLOW_HOST = Limit(
    1.0, "images that the host makes a second over those that the step takes", "below, devices wait"
)
