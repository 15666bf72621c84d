"""What a run ends with: its report, and how it went in a few lines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count


def add(commands: Commands) -> None:
    """Add the commands."""
    metrics = command(
        commands,
        "metrics",
        _metrics,
        summary="write metrics.tsv, metrics.parquet, failures.tsv and the bill of a run",
        example="snakefold metrics results",
    )
    metrics.add_argument("results", type=Path, help="results folder of a run")

    report = command(
        commands,
        "report",
        _report,
        summary="write the report page of a run, after its tables (`snakefold metrics`)",
        example="snakefold report results --compare ../boltz/results=Boltz",
    )
    report.add_argument("results", type=Path, nargs="?", help="results folder of a run")
    report.add_argument(
        "--from", dest="given", type=Path, metavar="RESULTS", help="the same as RESULTS without an option"
    )
    report.add_argument(
        "--watch",
        action="store_true",
        help="while the run goes on, keep a page of what is finished in results/provisional, until it ends; "
        "exit code 1 if something failed",
    )
    report.add_argument(
        "--every", type=float, default=20.0, metavar="SECONDS", help="seconds between looks of --watch"
    )
    report.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="RESULTS[=LABEL]",
        help="show other results of the same sequences beside these; may be given several times",
    )
    report.add_argument(
        "--only-page", action="store_true", help="leave the tables as they are, and read them for the page"
    )

    summary = command(
        commands,
        "summary",
        _summary,
        summary="summarise a finished run; the exit code is 1 if a target failed",
        example="snakefold summary results",
    )
    summary.add_argument("results", type=Path, help="results folder of a run")
    summary.add_argument(
        "--out", type=Path, default=None, help="file for the text, written if nothing failed"
    )


def _log(line: str) -> None:
    print(line, flush=True)


def _expect(path: Path) -> None:
    """See that a file of the results is there, before it is read."""
    from snakefold.kernel.errors import SnakefoldError

    if not path.is_file():
        raise SnakefoldError(
            f"{path}: no such file. Expected the results folder of a run, planned and collected."
        )


def _check(results: Path) -> None:
    """See that the results have a plan as it was made: what is not in it counts as gone."""
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.plan.mark import changed_files

    for name in ("batches.tsv", "targets.tsv"):
        _expect(results / "plan" / name)
    if changed := changed_files(results / "plan"):
        raise SnakefoldError(
            f"{results / 'plan' / changed[0]}: missing or changed since the plan was made. Run again: it is "
            "planned again."
        )


def _metrics(options: argparse.Namespace) -> None:
    _check(options.results)
    _write_tables(options.results)


def _write_tables(results: Path) -> None:
    from functools import partial

    from snakefold.clusters.runpod.billing import runpod_figure
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.plan.files import read_rows
    from snakefold.run.bill import write_bill
    from snakefold.run.calibration.observations import write_timings
    from snakefold.run.collect import merge_tables
    from snakefold.run.exports import target_dollars

    # bill.tsv goes on from run to run: as an output of the rule, Snakemake would delete it first.
    for name, write in (
        ("timings.tsv", write_timings),
        ("bill.tsv", partial(write_bill, service=runpod_figure)),
    ):
        try:
            write(results)
        except SnakefoldError as error:  # no reason to go without metrics
            _log(f"{name}: {error}")
    # A table of an earlier plan's batch may be there still; one of a batch whose jobs failed is not.
    tables = [results / "tables" / f"{row.batch}.parquet" for row in read_rows(results / "plan")]
    done, failed, refused = merge_tables(
        [path for path in tables if path.is_file()],
        results / "plan" / "targets.tsv",
        results / "metrics.tsv",
        results / "failures.tsv",
        target_dollars(results, _log),
    )
    _log(f"{count(done, 'result')}, {failed} failed, {refused} refused")


def _report(options: argparse.Namespace) -> int:
    from snakefold import report
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.report.figures import write_figures
    from snakefold.run import products
    from snakefold.run.designs.table import write_what_is_there
    from snakefold.run.exports import write_exports
    from snakefold.run.superseded import set_aside_after

    results: Path | None = options.results or options.given
    if results is None:
        raise SnakefoldError("Expected the results folder of a run: snakefold report results.")
    if options.watch:
        from snakefold.report.provisional import watch
        from snakefold.run.status.read import Reader

        for line in watch(results, options.every):
            _log(line)
        return int(Reader(results).read().state != "finished")
    _check(results)
    if options.only_page:
        for name in ("metrics.tsv", "failures.tsv"):
            _expect(results / name)
    else:
        _write_tables(results)
        write_what_is_there(results)
    for name in set_aside_after(results):
        _log(f"{name}: has no structure in this run; that of an earlier one is moved to {results}/superseded")
    write_exports(results, _log)
    write_figures(results)
    _log(str(report.build(results, options.compare)))
    products.note_report(results)
    return 0


def _summary(options: argparse.Namespace) -> int:
    from snakefold.kernel.store import write_atomically
    from snakefold.run.job_ids import write_job_ids
    from snakefold.run.summary import summarise
    from snakefold.run.unfinished import note_lost

    for name in ("metrics.tsv", "failures.tsv"):
        _expect(options.results / name)
    write_job_ids(options.results)
    text, failed = summarise(options.results)
    print(text)
    if failed:
        note_lost(options.results)
        return 1
    if options.out:
        write_atomically(options.out, f"{text}\n".encode())
    sys.stdout.flush()
    return 0
