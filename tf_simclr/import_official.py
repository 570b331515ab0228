"""`python -m tf_simclr.import_official`: weights of the authors' TF1 or TF2 release into a run folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

COMMAND = Command(
    "import_official",
    "make a run folder of the authors' weights; the architecture is read from the variables",
    "imported data labels run".split(),
    {},
)


def import_official(config: Config) -> None:
    from tf_simclr import runs
    from tf_simclr.official.source import OfficialCheckpoint
    from tf_simclr.protocols import importing

    source = OfficialCheckpoint(config.imported.source, ema=config.imported.ema)
    config = importing.complete(config, source)
    parts = importing.filled_parts(config, source)
    run = runs.RunFolder.open(config, COMMAND)
    importing.save(run, parts, source)
    importing.print_summary(run, source)


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, import_official, arguments)


if __name__ == "__main__":
    sys.exit(main())
