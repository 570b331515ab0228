"""From where on a check of a planned run speaks up, and whose figure that is."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """A number, what it bounds, and where it comes from."""

    value: float
    bounds: str
    source: str


FLAT_DEVIATION = Limit(0.02, "deviation of a near-uniform view's pixels, of 1", "5 of 255 levels")
FLAT_VIEWS = Limit(
    0.15,
    "share of near-uniform views: warning",
    "ImageNet photographs, CIFAR-10: 5 to 8 % at strength 1, 21 to 26 % at 1.5 (ours)",
)
FLAT_VIEWS_WASTED = Limit(
    0.5, "share of near-uniform views: wasted", "most pairs then have a view that shows nothing"
)
SMALL_FOR_IMAGENET_STEM = Limit(64, "shorter side below which --stem=imagenet is coarse, px", "App. B.9")
LARGE_FOR_CIFAR_STEM = Limit(
    128, "shorter side from which --stem=cifar is dear, px", "16 times the pixels of the other stem"
)
ENLARGED = Limit(2.0, "factor by which images are enlarged to --image_size", "four pixels made of one")
LOWEST_TEMPERATURE = Limit(0.05, "lowest temperature of z of length 1", "Table 5: 59.7; 64.4 at 0.1")
HIGHEST_TEMPERATURE = Limit(1.0, "highest temperature of z of length 1", "Table 5: 58.0; 64.4 at 0.1")
LOW_LARS_RATE = Limit(
    0.5,
    "lowest peak rate of LARS over 0.075 sqrt(batch), of SimCLR",
    "Table B.1, batch 256: 57.5 at a quarter; 62.8 at 1",
)
HIGH_LARS_RATE = Limit(5.0, "highest peak rate of LARS over 0.075 sqrt(batch)", "App. B.9 tries no more")
HIGH_SGD_RATE = Limit(
    1.0, "highest peak rate of momentum and nesterov over batch / 256", "ten times Goyal et al. (2017)"
)
HIGH_ADAM_RATE = Limit(0.01, "highest peak rate of adam and lamb", "ten times Kingma & Ba (2015)")
LONG_WARMUP = Limit(0.5, "share of the run that is warm-up", "Sec. 2.3: a tenth at 100 epochs")
UNEVEN_CLASSES = Limit(10, "largest class over smallest", "top-1 then speaks of the largest (ours)")
SAME_IMAGE = Limit(
    0.999,
    "cosine of centred 16 px thumbnails from which two are one image",
    "nearest of different ones: 0.96 in CIFAR-10, 0.992 in digits (ours)",
)
LEFT_OUT = Limit(0.01, "share of a folder's images that have no decoder", "a hundredth, as of bad images")
FULL_MEMORY = Limit(0.9, "share of the memory that is needed", "kernels take scratch space on top")
FIRST_LOSS = Limit(
    1.0,
    "first NT-Xent a view above log(2N-1), times the temperature",
    "untrained encoders: at most 0.5 (ours); z of any length: more",
)
SLOW_HOST = Limit(1.0, "images a second of the host over the step's", "the step waits below it")
