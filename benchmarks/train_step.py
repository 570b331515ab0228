"""The train step of ResNet-18 (CIFAR stem), 64 images, augmentation included, ours beside the textbook's.

    python -m benchmarks.train_step [--device=GPU]

Images are decoded already; a turn pulls batches through each one's input pipeline and trains on them. The
limit is the encoder's forward and backward pass alone, on views that are ready. Colour distortion is also
measured by itself at 224 px. --device=GPU times ResNet-50 there in place of all this, and prints its
arithmetic and memory traffic a second, to hold against the device's data sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import accelerator, textbook
from benchmarks.contest import Claim, Contest, Turn, batches_turn, cpu_features, publish, take_turns
from tf_simclr import augment, data, models, optimizers
from tf_simclr.data.records import MemorySource

WIDTHS = flags.DEFINE_multi_enum(
    "width", ["1", "0.25"], ["1", "0.25"], "width of the ResNet-18; may be repeated"
)
DEVICE = flags.DEFINE_enum("device", "CPU", ["CPU", "GPU"], "device to measure")
IMAGES, SIDE = 64, 32
STEPS = {"1": 2, "0.25": 8}  # a turn, by width
BATCHES = 8  # a turn, of views whose colours alone are distorted


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    if DEVICE.value == "GPU":
        if not tf.config.list_physical_devices("GPU"):
            raise app.UsageError("--device=GPU: TensorFlow finds no GPU")
        of_the_gpu()
        return
    publish("train_step", *map(contest_of_width, WIDTHS.value), contest_of_colors())


def of_the_gpu() -> None:
    """ResNet-50 in place of all else, and what it asks of the device."""
    contest = accelerator.contest("ResNet-50", lambda: models.ResNet(50), batch_size=256, side=224, steps=20)
    found = accelerator.rates(contest, accelerator.cost(models.ResNet(50), 224))
    publish("train_step", contest, accelerator=found)
    print(accelerator.text(found))


def contest_of_width(name: str) -> Contest:
    """Whole train steps; bfloat16 too where the processor has instructions for it."""
    steps, width = STEPS[name], float(name)
    turns: dict[str, Turn | Callable[[], Any]] = {
        "textbook": textbook_steps(width, steps),
        "ours": our_steps(width, steps),
    }
    claims = [Claim("ours", "textbook", 1.0 if width == 1 else 1.2)]
    if cpu_features() & {"avx512_bf16", "amx_bf16"}:
        turns["ours, bfloat16"] = our_steps(width, steps, "mixed_bfloat16")
        claims += [Claim("ours, bfloat16", "ours", 1.3)] if width == 1 else []
    else:
        print("bfloat16 is left out: this processor has neither avx512_bf16 nor amx_bf16")
    turns["limit: forward and backward alone"] = bare_steps(width, steps)
    claims.append(Claim("ours", "limit: forward and backward alone"))
    subject = f"train step, ResNet-18 at width {name}, {IMAGES} images of {SIDE} px"
    return Contest(subject, take_turns(turns), amount=steps, unit="steps", claims=claims)


def images(count: int = 4 * IMAGES) -> np.ndarray:
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


def textbook_steps(width: float, steps: int) -> Turn:
    decoded = tf.data.Dataset.from_tensor_slices(images()).repeat()
    model = textbook.SimCLR(width)
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9))
    return fit(model, textbook.views(decoded, SIDE, IMAGES), steps)


def our_steps(width: float, steps: int, policy: str = "float32") -> Turn:
    model = our_model(width, policy)
    batches = data.pretraining_batches(
        data.cached(source_of(images()), SIDE),
        data.Sampling(SIDE, IMAGES, seed=0),
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


def bare_steps(width: float, steps: int) -> Callable[[], Any]:
    """The encoder's forward and backward pass on 2N ready views: what any SimCLR has to pay."""
    encoder = models.ResNet(18, width, stem="cifar")
    views = tf.random.stateless_uniform([2 * IMAGES, SIDE, SIDE, 3], [0, 0])

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
