"""`python -m tf_simclr.doctor`: checks of this installation, and of a run before it is started."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

_RUNS = (
    "extension preview checkpoints devices profile run".split()
)  # so that pretrain's flagfiles can be given
COMMAND = Command(
    "doctor",
    "what a pretraining will meet (--flagfile), parity of 1 against n devices (--parity), sizes and traffic "
    "of a planned run (--sizes), bad images (--data)",
    [*"doctor data views augmentation encoder head method optimization memory probe".split(), *_RUNS],
    {},
)


class CheckFailed(Exception):
    """A check found something wrong."""


def doctor(config: Config) -> None:
    wanted = config.doctor
    if not (wanted.parity or wanted.sizes or wanted.data):
        if not config.data.dataset:
            raise UsageError(
                "give the flags of a pretraining, as --flagfile=FILE, or --parity, --sizes or --data"
            )
        check_run(config)
    if wanted.parity:
        check_parity(config)
    if wanted.sizes:
        from tf_simclr.checks import sizes

        print(sizes.to_json(config) if wanted.json else sizes.report(config))
    if wanted.data:
        check_images(config)


def check_run(config: Config) -> None:
    """Prints what a pretraining by these flags will meet, a line each, or as JSON.

    Raises:
        CheckFailed: it is not worth starting.
    """
    from tf_simclr.checks import before_a_run, findings

    with contextlib.redirect_stdout(sys.stderr):  # what a run says as it opens its data
        found = before_a_run.findings(config)
    print(findings.to_json(found) if config.doctor.json else findings.report(found))
    if findings.is_wasted(found):
        raise CheckFailed("such a run would be wasted: see above")


def check_images(config: Config) -> None:
    """Prints which images of --dataset cannot be decoded.

    Raises:
        CheckFailed: there are more than --max_bad_images.
    """
    from tf_simclr.checks import images

    config.require_dataset()
    lines, too_many = images.report(config)
    print("\n".join(lines))
    if too_many:
        raise CheckFailed(f"more bad images than --max_bad_images={config.data.max_bad_images:g} bears")


def check_parity(config: Config) -> None:
    """Prints the largest differences between one replica and --devices of them, of --method's train step.

    Raises:
        CheckFailed: one is above the tolerance.
    """
    import tensorflow as tf

    from tf_simclr.checks import parity

    devices = config.doctor.devices
    names = parity.virtual_devices(devices)
    config.method.check(parity.IMAGES // devices, devices)
    make = functools.partial(parity.model, method=config.method)
    one = parity.train(tf.distribute.get_strategy(), make)
    many = parity.train(tf.distribute.MirroredStrategy(names), make)
    differences = parity.largest_differences(one, many)
    print(f"largest relative differences over {parity.STEPS} steps, 1 replica against {devices}:")
    print(parity.report(differences))
    if not parity.holds(differences):
        raise CheckFailed(f"above {parity.TOLERANCE:g}: {devices} replicas do not train as one")
    print(f"parity holds: all below {parity.TOLERANCE:g}")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return cli.main(COMMAND, doctor, arguments)
    except CheckFailed as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
