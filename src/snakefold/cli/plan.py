"""`snakefold plan`: what a run would do and cost, for a person, and the plan step of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.cli._settings import add_settings, executor_of, settings_of
from snakefold.kernel.errors import SnakefoldError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "plan",
        _plan,
        summary="show what a run would compute, take and cost; nothing is started",
        example="snakefold plan proteins.fasta --set gpu.classes=[ampere_80] --set gpu.workers=4",
    )
    add_settings(parser)
    parser.add_argument(
        "--config",
        type=Path,
        help="config.yaml of a run: write its plan to --out, as the workflow's plan step does",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the plan and its quote; if not given, <results>/quote"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the quote as JSON, also one that is above a limit (exit code 2); all else goes to stderr",
    )
    parser.add_argument(
        "--mark",
        type=Path,
        help="file whose name identifies the inputs of the plan in --out; other files beside it are removed",
    )


def _plan(options: argparse.Namespace) -> None:
    if options.config is not None:
        _step(options)
        return
    from snakefold.plan.preview import preview
    from snakefold.plan.quote import BudgetError, DeadlineError

    config = settings_of(options)
    folder = options.out or Path(config.results) / "quote"
    if folder.resolve() == (Path(config.results) / "plan").resolve():
        raise SnakefoldError(f"{folder}: is where a run keeps its plan. Choose another folder for --out.")
    log = _to_stderr if options.json else _log
    try:
        preview(config, folder, log, executor_of(options))
    except (BudgetError, DeadlineError):
        if options.json:  # whoever decides on a limit wants to know what it would have to be
            print((folder / "quote.json").read_text(), end="")
        raise
    if options.json:
        print((folder / "quote.json").read_text(), end="")
    log(f"Nothing was started. The plan is in {folder}.")


def _step(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.plan.mark import bring_back, drop_marks, keep, write_mark
    from snakefold.plan.run import plan_run
    from snakefold.plan.stages import planned_for, with_what_is_left
    from snakefold.run.bill import close_bill

    if options.out is None or options.input or options.configfile or options.set:
        raise SnakefoldError("--config takes --out and no other settings: the file has them all.")
    config = read_config(options.config)
    made = planned_for(config) if options.mark is not None else ""
    if made and bring_back(options.mark, options.out, made):
        _log("The designs are those of the last run: its plan stays as it is.")
        return
    try:
        warnings = close_bill(options.out.parent)
    except SnakefoldError as error:  # no reason to go without a plan
        warnings = [str(error)]
    for warning in warnings:
        _log(f"warning: {warning}")
    drop_marks(options.out)
    plan_run(with_what_is_left(config), options.out, _log)
    if options.mark is not None:
        write_mark(options.mark, options.out)
    if made:
        keep(options.mark, options.out, made)


def _log(line: str) -> None:
    print(line, flush=True)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
