"""`python -m tf_simclr.reproduce`: the paper's tables and figures, a folder of flagfiles each."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from etils import epath, epy

from tf_simclr import cli, files
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    from tf_simclr.reproduction import estimate, jobs, report, stages, store, tables, verdicts

COMMAND = Command(
    "reproduce",
    "run every row of a table of the paper, and judge its claims",
    "reproduction repeats run".split(),
    {},
)


def reproduce(config: Config) -> None:
    """Runs what is not finished yet, and reports."""
    asked, results = config.reproduction, _results(config)
    found = tables.read(asked.table)
    verdicts.require_readable(found)
    rows = tables.rows(found, asked.rows)
    cells = stages.cells(rows, _seeds(config), asked.row_flags)
    store.read(results, cells)  # rows that have changed are said before anything runs
    todo = jobs.jobs([cell for cell in cells if not store.path_of(results, cell).exists()])
    if asked.dry_run:
        print(estimate.plan(cells, todo, config))
        return
    _require_writable(config)
    if todo and not asked.report_only:
        _run(todo, config, results)
    _report(found, config, results)


def _results(config: Config) -> str:
    if not config.run.model_dir and not (config.reproduction.report_only and config.reproduction.results):
        config.require_model_dir()
    return config.reproduction.results or os.path.join(config.run.model_dir, "results")


def _require_writable(config: Config) -> None:
    """What is written at the end is asked for before anything runs."""
    page = config.reproduction.page
    if page and epath.Path(page).is_dir():
        raise UsageError(f"--page={page} is a folder; give a file, as {page}/paper.md")
    asked = {"model_dir": config.run.model_dir, "page": page}
    if not config.reproduction.report_only:
        asked["results"] = config.reproduction.results
    for flag, path in asked.items():
        if path:
            folder = os.path.dirname(path) or "." if flag == "page" else path
            files.require_writable(f"--{flag}={path}", epath.Path(folder))


def _seeds(config: Config) -> list[int]:
    return [int(seed) for seed in (config.repeats.seeds or str(config.run.seed)).split(",")]


def _run(todo: Sequence[jobs.Job], config: Config, results: str) -> None:
    print(f"reproduce: {len(todo)} runs to go, {config.reproduction.workers} at a time", flush=True)

    def done(job: jobs.Job, seconds: float) -> None:
        for cell in job.cells:
            figure = store.keep(results, cell, config.run.model_dir)
            paper = "" if cell.row.paper is None else f" (the paper's: {cell.row.paper:g})"
            print(f"  {cell.row.table}/{cell.row.name}, seed {cell.seed}: {figure:.2f}{paper}", flush=True)
        print(f"  {seconds:.0f} s", flush=True)

    jobs.run_all(todo, config.run.model_dir, config.reproduction.workers, done)


def _report(found: Sequence[tables.Table], config: Config, results: str) -> None:
    """Reports all rows of the tables with the seeds that --results holds."""
    asked = config.reproduction
    cells = stages.cells(tables.rows(found), store.seeds(results), asked.row_flags)
    values = store.read(results, cells)
    reports = [report.of(table, values) for table in found]
    for one in reports:
        print("\n" + "\n".join(report.markdown(one, f"{one.table.name}.png", level=1)))
        if config.run.model_dir:
            report.write(one, epath.Path(config.run.model_dir))
    if asked.page:
        report.write_page(reports, epath.Path(asked.page))


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, reproduce, arguments)


if __name__ == "__main__":
    sys.exit(main())
