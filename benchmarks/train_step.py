"""The train step of ResNet-18 (CIFAR stem), augmentation included, ours beside the textbook's.

    python -m benchmarks.train_step [--device=cpu]

Images are decoded already; a turn pulls batches through each one's input pipeline and trains on them. Limits
are the encoder's forward and backward pass alone, on views that are ready, and the roofline of the device.
Colour distortion is also measured by itself at 224 px. On a GPU follow the steps of ResNet-18 and ResNet-50
in bfloat16, with XLA and without, on views that are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import accelerator, device, roofline, textbook
from benchmarks.contest import Claim, Contest, Turn, batches_turn, cpu_features, publish, take_turns
from tf_simclr import augment, data, models, optimizers
from tf_simclr.data.records import MemorySource

WIDTHS = flags.DEFINE_multi_enum(
    "width", ["1", "0.25"], ["1", "0.25"], "width of the ResNet-18; may be repeated"
)
IMAGES = flags.DEFINE_integer("images", 0, "of a batch; 0: 64 on CPUs, 512 on a GPU", lower_bound=0)
ENCODERS = flags.DEFINE_enum(
    "encoders", "auto", ["auto", "none", "tiny", "full"], "bfloat16 steps on ready views; auto: full on a GPU"
)
SIDE = 32
DRAWN = 4  # batches of different images
STEPS = {"1": 2, "0.25": 8}  # a turn, by width
BATCHES = 8  # a turn, of views whose colours alone are distorted


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    place = device.choose()
    rates: dict[str, Any] = {}
    contests = [contest_of_width(name, place, rates) for name in WIDTHS.value]
    contests.append(contest_of_colors())
    for case in encoders(place):
        limits = roofline.Roofline.of_device(place, "bfloat16")
        contest, rates[case.name] = accelerator.contest(case, limits)
        contests.append(contest)
    publish("train_step", *contests, rooflines=rates)
    for name, found in rates.items():
        print(f"{name}\n{roofline.text(found)}")


def encoders(place: str) -> list[accelerator.Case]:
    wanted = ENCODERS.value if ENCODERS.value != "auto" else ("full" if place == "GPU" else "none")
    return {"none": [], "tiny": accelerator.TINY, "full": accelerator.CASES}[wanted]


def contest_of_width(name: str, place: str, rates: dict[str, Any]) -> Contest:
    """Whole train steps; bfloat16 too where the device has it. Adds its roofline to `rates`."""
    width, count = float(name), IMAGES.value or (512 if place == "GPU" else 64)
    steps = STEPS[name] * (4 if place == "GPU" else 1)
    turns: dict[str, Turn | Callable[[], Any]] = {
        "textbook": textbook_steps(width, steps, count),
        "ours": our_steps(width, steps, count),
    }
    claims = [Claim("ours", "textbook", 1.0 if width == 1 else 1.2)]
    if place == "GPU" or cpu_features() & {"avx512_bf16", "amx_bf16"}:
        turns["ours, bfloat16"] = our_steps(width, steps, count, "mixed_bfloat16")
        claims += [Claim("ours, bfloat16", "ours", 1.3)] if width == 1 else []
    else:
        print("bfloat16 is left out: this processor has neither avx512_bf16 nor amx_bf16")
    turns["limit: forward and backward alone"] = bare_steps(width, steps, count)
    claims.append(Claim("ours", "limit: forward and backward alone"))
    contest, rates[f"ResNet-18 at width {name}"] = roofline.contest(
        f"train step, ResNet-18 at width {name}, {count} images of {SIDE} px",
        turns,
        accelerator.cost(models.ResNet(18, width, stem="cifar"), SIDE).work(steps * count, 4),
        roofline.Roofline.of_device(place, "float32"),
        amount=steps * count,
        unit="images",
        claims=claims,
        of_limit=["ours"],
    )
    return contest


def images(count: int) -> np.ndarray:
    """Blurred noise, which compresses and resizes like a picture."""
    noise = np.random.default_rng(0).uniform(0, 255, [count, SIDE // 4, SIDE // 4, 3])
    return tf.cast(tf.image.resize(noise, [SIDE, SIDE], "bicubic"), tf.uint8).numpy()


def source_of(pixels: np.ndarray) -> MemorySource:
    """The images as PNG, without labels."""
    return MemorySource(
        "noise",
        "train",
        "1",
        [],
        images=[tf.io.encode_png(image).numpy() for image in pixels],
        labels=[-1] * len(pixels),
        ids=[str(number) for number in range(len(pixels))],
    )


def textbook_steps(width: float, steps: int, batch_size: int) -> Turn:
    decoded = tf.data.Dataset.from_tensor_slices(images(DRAWN * batch_size)).repeat()
    model = textbook.SimCLR(width)
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9))
    return fit(model, textbook.views(decoded, SIDE, batch_size), steps)


def our_steps(width: float, steps: int, batch_size: int, policy: str = "float32") -> Turn:
    model = our_model(width, policy)
    batches = data.pretraining_batches(
        data.cached(source_of(images(DRAWN * batch_size)), SIDE),
        data.Sampling(SIDE, batch_size, seed=0),
        num_uniforms=model.augmentations.num_uniforms,
    )
    return fit(model, batches, steps)


def our_model(width: float, policy: str = "float32") -> models.SimCLR:
    """ResNet-18 with colour distortion and LARS, compiled."""
    tf.keras.mixed_precision.set_global_policy(policy)
    model = models.SimCLR(
        models.ResNet(18, width, stem="cifar"),
        models.ProjectionHead(out_dim=128),
        augment.Augmentations([augment.ColorDistortion(textbook.STRENGTH)]),
        temperature=textbook.TEMPERATURE,
    )
    model.compile(optimizers.LARS(0.1, weight_decay=1e-6))
    tf.keras.mixed_precision.set_global_policy("float32")
    return model


def fit(model: tf.keras.Model, batches: tf.data.Dataset, steps: int) -> Turn:
    """Steps of the compiled train function that `Model.fit` runs."""
    train = model.make_train_function()

    def use(iterator: Iterator[Any]) -> None:
        tf.nest.map_structure(lambda value: value.numpy(), train(iterator))

    return batches_turn(batches, steps, use, settle=1.0)


def bare_steps(width: float, steps: int, batch_size: int) -> Callable[[], Any]:
    """The encoder's forward and backward pass on 2N ready views: what any SimCLR has to pay."""
    encoder = models.ResNet(18, width, stem="cifar")
    views = tf.random.stateless_uniform([2 * batch_size, SIDE, SIDE, 3], [0, 0])

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(views, training=True))
        return tf.add_n([tf.reduce_sum(g) for g in tape.gradient(loss, encoder.trainable_variables)])

    def turn() -> None:
        for _ in range(steps):
            step().numpy()

    return turn


def contest_of_colors() -> Contest:
    """Colour distortion of a batch of 224 px views on this processor."""
    count, side = 64, 224
    views = tf.random.stateless_uniform([count, side, side, 3], [1, 0])
    ours = augment.Augmentations([augment.ColorDistortion(textbook.STRENGTH)])
    generator = tf.random.Generator.from_seed(0)
    one_by_one = tf.data.Dataset.from_tensor_slices(views).repeat().map(textbook.distort, tf.data.AUTOTUNE)

    @tf.function
    def distorted() -> tf.Tensor:
        return ours(views, generator.uniform([count, ours.num_uniforms]))

    def by_us() -> None:
        for _ in range(BATCHES):
            distorted()

    return Contest(
        f"colour distortion of {count} views of {side} px",
        take_turns(
            {
                "tf.image, view by view": batches_turn(one_by_one.batch(count), BATCHES),
                "ours": by_us,
            }
        ),
        amount=BATCHES * count,
        unit="views",
        claims=[Claim("ours", "tf.image, view by view", 1.0)],
    )


if __name__ == "__main__":
    app.run(main)
