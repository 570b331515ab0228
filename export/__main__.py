"""`python -m export`, `tf-simclr export`: SavedModels of a run, or the checks of an export."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

GONE = 141  # as a shell says of a command that SIGPIPE ended


def define_flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("checkpoint", "", "run folder, or a checkpoint's prefix, to export", values)
    flags.DEFINE_string("output_dir", "", "folder for <model>/<step>/", values)
    formats = "any of saved_model, hub, tflite, tflite_float16, tflite_int8, onnx, torch"
    flags.DEFINE_list("format", ["saved_model"], formats, values)
    size = "the only image size that TFLite and ONNX files take, as 96 or 96x160; empty: any"
    flags.DEFINE_string("input_size", "", size, values)
    batch = "the only batch size that they take; 0: any"
    flags.DEFINE_integer("input_batch", 0, batch, lower_bound=0, upper_bound=4096, flag_values=values)
    flags.DEFINE_string(
        "data_dir", "", "where the run's data set is, if no longer where the run had it", values
    )
    licence = "of the weights, for hub: an identifier such as apache-2.0 or cc-by-4.0"
    flags.DEFINE_string("license", "unknown", licence, values)
    momentum = "export the moving averages of encoder and projection head that the run's method keeps"
    flags.DEFINE_bool("export_momentum_encoder", False, momentum, values)
    flags.DEFINE_bool("overwrite", False, "replace a <step> that exists", values)
    flags.DEFINE_multi_string("verify", [], "check this <model> or <model>/<step> instead", values)
    flags.DEFINE_bool("help", False, "show this help", values)
    return values


def main(arguments: Sequence[str]) -> int:
    """Runs and returns the exit code: 0, 1 where a check fails, 2 for a mistake of the user's."""
    values = define_flags()
    try:
        rest = values(["export", *arguments])[1:]
    except (flags.Error, UnicodeDecodeError) as error:
        return _mistake(error)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return 0
    wrong = _wrong(values, rest)
    if wrong:
        return _mistake(wrong)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # TF32 on a GPU would not answer to 1e-5
    if values.verify:
        from .quiet import quiet

        with quiet():  # TensorFlow's words at its import
            from . import verify
        return verify.main(values.verify)
    from tf_simclr.streams import without_chatter

    with without_chatter():
        return _export(values)


def _wrong(values: flags.FlagValues, rest: Sequence[str]) -> str:
    """What is wrong with the command line; empty when nothing is."""
    if rest:
        return f"unexpected {rest[0]!r}"
    if values.verify and (values.checkpoint or values.output_dir):
        return "--verify checks what is there already: give it without --checkpoint and --output_dir"
    if not (values.verify or (values.checkpoint and values.output_dir)):
        return "give --checkpoint and --output_dir, or --verify"
    return ""


def _export(values: flags.FlagValues) -> int:
    from tf_simclr.errors import UsageError

    from . import formats

    try:
        formats.check(values.format)
        shape = _shape(values)
        from tf_simclr.runs import loading

        from . import hub
        from .saved_model import export_run

        load = loading.load_momentum_encoder if values.export_momentum_encoder else loading.load_run
        run = load(values.checkpoint)
        about = {}
        if "hub" in values.format:
            about = {"licence": values.license, "figures": hub.figures(values.checkpoint, run.class_names)}
        wanted = {"overwrite": values.overwrite, "formats": values.format, "data_dir": values.data_dir}
        for folder in export_run(run, values.output_dir, **wanted, **shape, **about):
            print(folder)
    except UsageError as error:
        return _mistake(error, error.details)
    return 0


def _shape(values: flags.FlagValues) -> dict[str, Any]:
    """The fixed shape of converted files; UsageError for a size that is none, or a shape of nothing."""
    from tf_simclr import image_size
    from tf_simclr.errors import UsageError

    from .formats import CONVERTED

    try:
        size = image_size.read_size(values.input_size) if values.input_size else None
    except ValueError as error:
        raise UsageError(f"--input_size={values.input_size}: {error}") from None
    if values.input_size and not size:
        raise UsageError(f"--input_size={values.input_size}: must be at least 1")
    if (size or values.input_batch) and not set(CONVERTED) & set(values.format):
        given = "--input_size" if size else "--input_batch"
        raise UsageError(
            f"{given} is for TFLite and ONNX files: give --format={','.join(CONVERTED)}, or one of them"
        )
    return {"size": size, "batch": values.input_batch}


def _mistake(error: object, details: Sequence[str] = ()) -> int:
    print(f"export: {' '.join(str(error).split())}", file=sys.stderr)
    for line in details:
        print(f"  {line}", file=sys.stderr)
    return 2


def _main() -> int:
    """`main`; a reader of standard output that has gone, as of `| head`, ends it without a word."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
        return GONE


if __name__ == "__main__":
    sys.exit(_main())
