"""What is said of a run when it ends: the table of its results, what failed, or how to resume it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count
from snakefold.plan.provenance import COMMAND
from snakefold.run.status.read import Reader
from snakefold.run.status.stages import folders_of
from snakefold.run.status.text import line
from snakefold.run.summary import summarise


def ending(
    results: Path,
    log: Path,
    *,
    started: float,
    interrupted: bool = False,
    failed: bool = False,
    failures: Collection[str] = (),
) -> list[str]:
    """Lines for the terminal.

    Args:
        log: where everything else is.
        started: of the run, seconds since 1970. A report that is older tells nothing of a run that failed.
        interrupted: somebody stopped it.
        failed: a job or a step failed for good; failures: what is still to be told of it.
    """
    if interrupted:
        return [*_interrupted(results), f"log:     {log}"]
    told = []
    folders = folders_of(results)
    for folder in folders:
        table = folder / "metrics.tsv"
        if table.is_file() and (not failed or table.stat().st_mtime >= started):
            told += [f"{folder}:"] * (len(folders) > 1) + summarise(folder)[0].splitlines()
    if not told and not failed:
        told = _state(results)
    return [*told, *(part for text in failures for part in text.splitlines()), f"log:     {log}"]


def _interrupted(results: Path) -> list[str]:
    kept = "Finished targets are kept."
    try:
        status = Reader(results).read()
        if status.steps:
            kept = f"{status.done:,} of {count(status.targets, 'target')} done, and kept."
    except SnakefoldError:  # there was nothing yet
        pass
    return [f"Stopped. {kept}", f"resume:  {os.environ.get(COMMAND) or 'start the same command again'}"]


def _state(results: Path) -> list[str]:
    """A run that was asked for a part."""
    try:
        return [line(Reader(results).read())]
    except SnakefoldError as error:
        return [str(error)]
