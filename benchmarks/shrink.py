"""What `tf_simclr.shrink` gains: two views from a folder of photographs and from the same folder shrunk once.

    python -m benchmarks.shrink --images=FOLDER

Also the size on disk, the rate of shrinking itself, and how far the evaluation views of both are apart
(median PSNR): the accuracy that it costs is not measured. Without --images pictures are drawn.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from absl import app, flags

from benchmarks.contest import Claim, Contest, batches_turn, publish, take_turns
from benchmarks.input_pipeline import COUNT, IMAGES, draw_pictures, in_memory
from tf_simclr import data, shrink
from tf_simclr.config import Config

SIZE = flags.DEFINE_integer("image_size", 224, "side of the views, in pixels", lower_bound=8)
BATCH = 64


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or (IMAGES.value and not Path(IMAGES.value).is_dir()):
        raise app.UsageError(f"--images={IMAGES.value}: give a folder of JPEG photographs")
    with TemporaryDirectory() as folder:
        photographs, small = Path(IMAGES.value or f"{folder}/drawn"), Path(folder) / "small"
        if not IMAGES.value:
            photographs.mkdir()
            draw_pictures(str(photographs))
        rate = shrinking_rate(photographs, small)
        share = bytes_in(small) / bytes_in(photographs)
        sources = [in_memory(data.open_source(f"folder:{place}", "train")) for place in (photographs, small)]
        contest = contest_of(*sources)
        psnr = evaluation_psnr(*sources)
        loss = evaluation_psnr(data.cached(sources[0], SIZE.value), sources[1])
    figures = {"images_shrunk_a_second": rate, "bytes": share, "psnr": psnr, "psnr_of_jpeg": loss}
    publish("shrink", contest, **figures)
    print(f"  shrinking: {rate:,.0f} images/s; bytes on disk: {share:.2f} of before")
    print(f"  evaluation views of {SIZE.value} px: PSNR {psnr:.1f} dB; beside --cache_dataset {loss:.1f} dB")


def shrinking_rate(photographs: Path, small: Path) -> float:
    """Images a second of the command, which reads, decodes, shrinks, encodes and writes."""
    config = Config("shrink").replace(
        dataset=f"folder:{photographs}", image_size=SIZE.value, output_dir=str(small)
    )
    began = time.perf_counter()
    written = shrink.shrink(config)
    assert written is not None
    return written.images / (time.perf_counter() - began)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.name[0] != ".")


def contest_of(photographs: data.Source, small: data.Source) -> Contest:
    """Views from bytes in memory, as `benchmarks.input_pipeline`."""
    count = -(-COUNT.value // BATCH)
    sampling = data.Sampling(SIZE.value, BATCH, seed=0)
    turns = {
        name: batches_turn(data.pretraining_batches(source, sampling, num_uniforms=8), count)
        for name, source in {
            "photographs": photographs,
            "shrunk once": small,
            "--cache_dataset": data.cached(photographs, SIZE.value),
        }.items()
    }
    claims = [Claim("shrunk once", "photographs"), Claim("--cache_dataset", "photographs")]
    subject = (
        f"two {SIZE.value} px views of {'photographs' if IMAGES.value else 'drawn pictures'}, shrunk once"
    )
    return Contest(subject, take_turns(turns), count * BATCH, "images", claims)


def evaluation_psnr(one: data.Source, other: data.Source) -> float:
    """Of the evaluation views of the same images from two sources, in dB; the median."""
    sources = [
        data.evaluation_batches(each, image_size=SIZE.value, batch_size=BATCH) for each in (one, other)
    ]
    batches = zip(*(each.as_numpy_iterator() for each in sources), strict=True)
    errors = [np.mean(np.square(a["image"] - b["image"]), axis=(1, 2, 3)) for a, b in batches]
    return float(np.median(-10 * np.log10(np.maximum(np.concatenate(errors), 1e-10))))


if __name__ == "__main__":
    app.run(main)
