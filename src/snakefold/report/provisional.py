"""The report of a run that is going on: the targets that are finished so far, on a page of its own.

It lies in `results/provisional/`, where nothing takes it for the run's report. The open page asks a small
script beside it whether there is a newer one; once the run has ended, the page leads to the report.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold.kernel.store import write_atomically
from snakefold.plan.files import read_rows
from snakefold.report.costs import Costs
from snakefold.report.libraries import script_call
from snakefold.report.page import place_page
from snakefold.report.run import read_run
from snakefold.run.collect import merge_tables
from snakefold.run.status.read import Reader

FOLDER = "provisional"
_LATEST = "latest.js"
_REPORT = "../report/index.html"
_MOVED = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={_REPORT}">
<title>snakefold report</title>
<p><a href="{_REPORT}">The run has ended: its report</a></p>
</html>
"""


@dataclass(frozen=True)
class Provisional:
    """A page that was made: of how many finished targets, and how many wait."""

    page: Path
    done: int
    waiting: int


def build_provisional(results: Path) -> Provisional:
    """Make `results/provisional/index.html` of the batches that are collected.

    Raises:
        SnakefoldError: a file of the run is missing or damaged; the text names it.
    """
    tables = _tables(results)
    with tempfile.TemporaryDirectory(prefix=".provisional.", dir=results) as folder:
        if (made_with := results / "provenance.json").is_file():  # says what columns engines have
            shutil.copy(made_with, folder)
        merge_tables(
            tables,
            results / "plan" / "targets.tsv",
            Path(folder) / "metrics.tsv",
            Path(folder) / "failures.tsv",
            unfinished=True,
        )
        # A bill is made at the end: one that is there is of an earlier run.
        run = replace(read_run(results, tables=Path(folder)), costs=Costs())
    stamp = f"{time.time():.3f}"
    page = place_page(results, run, FOLDER, stamp=stamp)
    write_atomically(page.parent / "assets" / _LATEST, script_call("snakefold.latest", stamp, ""))
    return Provisional(page, len(run.metrics), run.waiting)


def close_provisional(results: Path) -> None:
    """Let an open page lead to the report of the run, which has ended."""
    page = results / FOLDER / "index.html"
    if page.is_file():
        write_atomically(page.parent / "assets" / _LATEST, script_call("snakefold.latest", "", _REPORT))
        write_atomically(page, _MOVED.encode())


def watch(results: Path, every: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """Make the page anew whenever a batch is collected, until the run ends; a line for each.

    Args:
        every: seconds between looks.

    Raises:
        SnakefoldError: the folder holds no run, or a file of it is damaged.
    """
    reader, seen = Reader(results), None
    while True:
        status = reader.read()
        over = status.state not in {"planning", "running"}
        if over and status.report.is_file():
            close_provisional(results)
            yield f"{results}: {status.state}; report: {status.report.as_uri()}"
            return
        if (results / "plan" / "targets.tsv").is_file():
            found = [(path, path.stat().st_mtime_ns) for path in _tables(results)]
            if found != seen:
                made, seen = build_provisional(results), found
                yield f"{made.done} finished, {made.waiting} to come: {made.page.resolve().as_uri()}"
        if over:
            yield f"{results}: {status.state}; there is no report. Run the same command again to go on."
            return
        sleep(every)


def _tables(results: Path) -> list[Path]:
    paths = (results / "tables" / f"{row.batch}.parquet" for row in read_rows(results / "plan"))
    return [path for path in paths if path.is_file()]
