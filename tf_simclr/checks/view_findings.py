"""What the encoder will see: how many views of real images show nothing."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.augment.pixels import as_float
from tf_simclr.checks import limits
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned

IMAGES = 256  # whose views are looked at


def near_uniform(run: Planned) -> Iterator[Finding]:
    """The share of near-uniform views, and whether the crop or what follows it makes them."""
    few = inputs.few(run.source, IMAGES)
    augmentations = run.augmentations.plain()
    config = run.with_batch(few.num_examples)
    batch = next(iter(inputs.pretraining_batches(config, few, augmentations.num_uniforms)(0)))
    crops, uniforms = (tf.concat(tf.unstack(batch[key], axis=1), axis=0) for key in ("views", "uniforms"))
    cropped, seen = _flat_share(as_float(crops)), _flat_share(augmentations(crops, uniforms))
    figures = {"near_uniform_views": seen, "near_uniform_crops": cropped}
    shares = (
        f"{100 * seen:.1f} % of {len(crops):,} views are near-uniform ({100 * cropped:.1f} % of the crops)"
    )
    level = WASTED if seen >= limits.FLAT_VIEWS_WASTED.value else WARNING
    if seen < limits.FLAT_VIEWS.value:
        yield Finding(NOTE, shares, figures)
    elif cropped >= seen / 2:
        views = run.config.views
        name = "crop_side" if views.crop_side else "crop_area_min"
        crop = f"--{name}={getattr(views, name):g}"
        yield Finding(level, f"{crop}: {shares}; raise it: crops show background", figures)
    else:
        yield Finding(level, f"{_flag(run)}: {shares}; lower it, and look by --preview_views", figures)


def _flag(run: Planned) -> str:
    """What paints the views."""
    settings = run.config.augmentation
    if settings.augmentations:
        return f"--augmentations={settings.augmentations}"
    return f"--color_jitter_strength={settings.color_jitter_strength:g}"


def _flat_share(views: tf.Tensor) -> float:
    """Of views [n, H, W, C] in [0, 1], those whose pixels hardly deviate, in the mean over channels."""
    deviations = tf.reduce_mean(tf.math.reduce_std(views, axis=[1, 2]), axis=-1)
    return float(tf.reduce_mean(tf.cast(deviations < limits.FLAT_DEVIATION.value, tf.float32)))
